/* The Python side of the kernels: one function that serves a batch, and a choice of instruction set. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "kernels.h"

static const KernelSet *chosen = &kernels_baseline;

/* The OpenMP runtime that PyTorch has loaded already, so that both share one pool of threads; NULL: one thread. */
typedef void (*Parallel)(void (*body)(void *), void *shared, unsigned threads, unsigned flags);
static Parallel parallel = NULL;

typedef struct {
    Kernel kernel;
    Job job;
    int64_t samples, chunk, next;
    int outside;
} Shared;

/* Threads take chunks as they come: a thread that the machine keeps waiting takes fewer. */
static void work(void *argument) {
    Shared *shared = argument;
    int outside = 0;
    for (;;) {
        const int64_t begin = __atomic_fetch_add(&shared->next, shared->chunk, __ATOMIC_RELAXED);
        if (begin >= shared->samples) break;
        const int64_t end = begin + shared->chunk < shared->samples ? begin + shared->chunk : shared->samples;
        outside |= shared->kernel(&shared->job, begin, end);
    }
    if (outside) __atomic_store_n(&shared->outside, 1, __ATOMIC_RELAXED);
}

/* Work below this many output bytes is not worth waking a thread for. */
enum { WORTH_A_THREAD = 1 << 17 };

static int serve(Job job, int64_t samples, int64_t threads) {
    const int64_t *program = job.program;
    const Kernel kernel = chosen->kernels[program[KERNEL]];
    const int64_t bytes = samples * program[COLUMNS] * program[WIDTH] * 4;
    if (threads > bytes / WORTH_A_THREAD) threads = bytes / WORTH_A_THREAD;
    if (threads < 2 || !parallel) return kernel(&job, 0, samples);
    Shared shared = {kernel, job, samples, samples / (threads * 8) + 1, 0, 0};
    parallel(work, &shared, (unsigned)threads, 0);
    return shared.outside;
}

PyDoc_STRVAR(lookup_doc,
             "lookup(programs, ids, id_bytes, id_stride, samples, out, out_stride, threads) -> bool\n\n"
             "Serve a batch; ids and out are addresses. True if an id was outside its field.");

static PyObject *lookup(PyObject *self, PyObject *const *args, Py_ssize_t nargs) {
    if (nargs != 8 || !PyTuple_Check(args[0])) {
        PyErr_SetString(PyExc_TypeError, "lookup takes a tuple of programs and 7 integers");
        return NULL;
    }
    int64_t values[8];
    for (int i = 1; i < 8; i++) {
        values[i] = PyLong_AsLongLong(args[i]);
        if (values[i] == -1 && PyErr_Occurred()) return NULL;
    }
    const Py_ssize_t count = PyTuple_GET_SIZE(args[0]);
    for (Py_ssize_t p = 0; p < count; p++) {
        PyObject *program = PyTuple_GET_ITEM(args[0], p);
        if (!PyBytes_Check(program) || PyBytes_GET_SIZE(program) < (Py_ssize_t)(FIRST_OWN_WORD * sizeof(int64_t)) ||
            (uint64_t)((const int64_t *)PyBytes_AS_STRING(program))[KERNEL] >= NUM_KERNELS) {
            PyErr_SetString(PyExc_TypeError, "not a program");
            return NULL;
        }
    }
    int outside = 0;
    PyThreadState *state = values[4] > 16 ? PyEval_SaveThread() : NULL; /* a short call keeps the lock */
    for (Py_ssize_t p = 0; p < count; p++) {
        const Job job = {(const int64_t *)PyBytes_AS_STRING(PyTuple_GET_ITEM(args[0], p)),
                         (const void *)values[1],
                         (int)values[2],
                         values[3],
                         (float *)values[5],
                         values[6]};
        outside |= serve(job, values[4], values[7]);
    }
    if (state) PyEval_RestoreThread(state);
    return PyBool_FromLong(outside);
}

PyDoc_STRVAR(touch_doc,
             "touch(table, row_bytes, rows, count) -> int\n\n"
             "Read every cache line of rows (int64 numbers) of a table, with prefetch, and do nothing else: the limit of\n"
             "what a gather can reach.");

static PyObject *touch(PyObject *self, PyObject *const *args, Py_ssize_t nargs) {
    long long values[4];
    if (nargs != 4) {
        PyErr_SetString(PyExc_TypeError, "touch takes 4 integers");
        return NULL;
    }
    for (int i = 0; i < 4; i++) {
        values[i] = PyLong_AsLongLong(args[i]);
        if (values[i] == -1 && PyErr_Occurred()) return NULL;
    }
    const uint8_t *table = (const uint8_t *)values[0];
    const int64_t row_bytes = values[1], *rows = (const int64_t *)values[2], count = values[3];
    const int64_t ahead = 16;
    uint64_t sum = 0;
    for (int64_t i = 0; i < count; i++) {
        const uint8_t *next = table + rows[i + ahead < count ? i + ahead : i] * row_bytes;
        for (int64_t at = 0; at < row_bytes; at += 64) __builtin_prefetch(next + at);
        __builtin_prefetch(next + row_bytes - 1);
        const uint8_t *row = table + rows[i] * row_bytes;
        for (int64_t at = 0; at < row_bytes; at += 64) sum += row[at];
        sum += row[row_bytes - 1];
    }
    return PyLong_FromUnsignedLongLong(sum);
}

PyDoc_STRVAR(use_threads_doc, "use_threads(address)\n\nShare the OpenMP runtime whose GOMP_parallel is at address.");

static PyObject *use_threads(PyObject *self, PyObject *address) {
    const long long value = PyLong_AsLongLong(address);
    if (value == -1 && PyErr_Occurred()) return NULL;
    parallel = (Parallel)(intptr_t)value;
    Py_RETURN_NONE;
}

static const KernelSet *supported(int index) {
    if (index == 0) return &kernels_baseline;
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (index == 1 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2"))
        return &kernels_avx2;
    if (index == 2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        return &kernels_avx512;
#endif
    return NULL;
}

PyDoc_STRVAR(choose_doc, "choose(name)\n\nUse the kernels of this name, one of available().");

static PyObject *choose(PyObject *self, PyObject *name) {
    for (int i = 0; i < 3; i++) {
        const KernelSet *set = supported(i);
        if (set && PyUnicode_Check(name) && PyUnicode_CompareWithASCIIString(name, set->name) == 0) {
            chosen = set;
            Py_RETURN_NONE;
        }
    }
    PyErr_SetString(PyExc_ValueError, "these kernels do not run on this processor");
    return NULL;
}

PyDoc_STRVAR(available_doc, "available() -> list[str]\n\nKernels that run on this processor, the best last.");

static PyObject *available(PyObject *self, PyObject *unused) {
    PyObject *names = PyList_New(0);
    for (int i = 0; names && i < 3; i++) {
        const KernelSet *set = supported(i);
        PyObject *name = set ? PyUnicode_FromString(set->name) : NULL;
        if (set && (!name || PyList_Append(names, name) < 0)) Py_CLEAR(names);
        Py_XDECREF(name);
    }
    return names;
}

PyDoc_STRVAR(in_use_doc, "in_use() -> str\n\nThe kernels that run now.");

static PyObject *in_use(PyObject *self, PyObject *unused) { return PyUnicode_FromString(chosen->name); }

static PyMethodDef methods[] = {{"lookup", (PyCFunction)(void (*)(void))lookup, METH_FASTCALL, lookup_doc},
                                {"touch", (PyCFunction)(void (*)(void))touch, METH_FASTCALL, touch_doc},
                                {"use_threads", use_threads, METH_O, use_threads_doc},
                                {"choose", choose, METH_O, choose_doc},
                                {"available", available, METH_NOARGS, available_doc},
                                {"in_use", in_use, METH_NOARGS, in_use_doc},
                                {NULL, NULL, 0, NULL}};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_kernels", "Compiled lookups of packed rows.", -1, methods};

PyMODINIT_FUNC PyInit__kernels(void) {
    for (int i = 0; i < 3; i++)
        if (supported(i)) chosen = supported(i);
    return PyModule_Create(&definition);
}
