/* What a plan knows of the tensors that its addresses are in, so that each call can tell that they are still the same:
 * where the numbers lie, their type and shape, and torch's count of changes in place. Included by module.c.
 */
#ifndef SHARKBENCH_SEAL_H
#define SHARKBENCH_SEAL_H

#include "tensors.h"

enum { MOST_DIMENSIONS = 4 };

typedef struct {
    const char *data;
    int64_t version, shape[MOST_DIMENSIONS];
    int32_t device, device_number, dimensions, type;
} Mark;

/* Reads torch's count of changes in place without the interpreter: the C function behind Tensor._version. */
static PyObject *version_attribute = NULL;

static int use_versions(PyObject *type) {
    PyObject *found = PyObject_GetAttrString(type, "_version");
    if (found && Py_TYPE(found) == &PyGetSetDescr_Type) {
        Py_XSETREF(version_attribute, found);
        return 1;
    }
    Py_XDECREF(found);
    PyErr_Clear();
    return 0;
}

static int version_of(PyObject *tensor, int64_t *version) {
    const PyGetSetDef *known = ((PyGetSetDescrObject *)version_attribute)->d_getset;
    PyObject *number = known->get(tensor, known->closure);
    if (!number) return 0;
    *version = PyLong_AsLongLong(number);
    Py_DECREF(number);
    return 1;
}

/* Whether the numbers lie one after the other, and the mark of them. */
static int mark_of(const Exchange *exchange, PyObject *tensor, Mark *mark) {
    TensorView view;
    memset(mark, 0, sizeof *mark);
    if (!version_of(tensor, &mark->version) || exchange->view(tensor, &view) || view.dimensions > MOST_DIMENSIONS) {
        PyErr_Clear();
        return 0;
    }
    mark->data = (const char *)view.data + view.offset;
    mark->device = view.device, mark->device_number = view.device_number, mark->dimensions = view.dimensions;
    mark->type = view.code << 24 | view.bits << 16 | view.lanes;
    int64_t step = 1;
    for (int i = view.dimensions - 1; i >= 0; i--) {
        if (view.strides && view.shape[i] > 1 && view.strides[i] != step) return 0;
        mark->shape[i] = view.shape[i];
        step *= view.shape[i];
    }
    return 1;
}

/* Whether all of a tuple of tensors are as their marks say. */
static int unchanged(const Exchange *exchange, PyObject *tensors, PyObject *marks) {
    const Mark *known = (const Mark *)PyBytes_AS_STRING(marks);
    Mark now;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(tensors); i++)
        if (!mark_of(exchange, PyTuple_GET_ITEM(tensors, i), &now) || memcmp(&now, known + i, sizeof now)) return 0;
    return 1;
}

static int are_sealed(PyObject *tensors, PyObject *marks, PyTypeObject *type) {
    int good = PyTuple_Check(tensors) && PyBytes_Check(marks) &&
               PyBytes_GET_SIZE(marks) == PyTuple_GET_SIZE(tensors) * (Py_ssize_t)sizeof(Mark);
    for (Py_ssize_t i = 0; good && i < PyTuple_GET_SIZE(tensors); i++)
        good = PyObject_TypeCheck(PyTuple_GET_ITEM(tensors, i), type);
    if (!good) PyErr_SetString(PyExc_TypeError, "not tensors and their marks");
    return good;
}

/* Whether one of these functions, called without arguments, says yes; -1 with an error set. */
static int any_says_yes(PyObject *functions) {
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(functions); i++) {
        PyObject *answer = PyObject_CallNoArgs(PyTuple_GET_ITEM(functions, i));
        const int yes = answer ? PyObject_IsTrue(answer) : -1;
        Py_XDECREF(answer);
        if (yes) return yes;
    }
    return 0;
}

#endif
