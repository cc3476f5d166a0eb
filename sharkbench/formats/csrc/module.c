/* The Python side of the kernels: one function that serves a batch, and a choice of instruction set. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#ifdef __linux__
#include <sys/mman.h>
#endif

#include "kernels.h"
#include "seal.h"
#include "tensors.h"

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

/* Bytes of output from which its lines are written past the cache: a line that is written whole need not be read before,
 * and whoever reads so much next would find little of it there. Measured with what reads it: 27 MB gain, 7 MB lose. */
enum { LARGE_OUTPUT = 1 << 24 };

/* Serves a tuple of programs that has been checked. */
static int serve_all(PyObject *programs, Job job, int64_t samples, int64_t threads) {
    int outside = 0;
    job.large = samples * job.out_stride * 4 >= LARGE_OUTPUT && ((uintptr_t)job.out | 4 * job.out_stride) % 64 == 0;
    PyThreadState *state = samples > 16 ? PyEval_SaveThread() : NULL; /* a short call keeps the lock */
    for (Py_ssize_t p = 0; p < PyTuple_GET_SIZE(programs); p++) {
        job.program = (const int64_t *)PyBytes_AS_STRING(PyTuple_GET_ITEM(programs, p));
        outside |= serve(job, samples, threads);
    }
    if (state) PyEval_RestoreThread(state);
    return outside;
}

static int are_programs(PyObject *programs) {
    int good = PyTuple_Check(programs);
    for (Py_ssize_t p = 0; good && p < PyTuple_GET_SIZE(programs); p++) {
        PyObject *program = PyTuple_GET_ITEM(programs, p);
        good = PyBytes_Check(program) && PyBytes_GET_SIZE(program) >= (Py_ssize_t)(FIRST_OWN_WORD * sizeof(int64_t)) &&
               (uint64_t)((const int64_t *)PyBytes_AS_STRING(program))[KERNEL] < NUM_KERNELS;
    }
    if (!good) PyErr_SetString(PyExc_TypeError, "not a tuple of programs");
    return good;
}

static int read_integer(PyObject *object, int64_t *value) {
    *value = PyLong_AsLongLong(object);
    return *value != -1 || !PyErr_Occurred();
}

/* The integers after the first argument of a call with `wanted` arguments. */
static int read_integers(PyObject *const *args, Py_ssize_t nargs, Py_ssize_t wanted, Py_ssize_t first, int64_t *values) {
    if (nargs != wanted) {
        PyErr_Format(PyExc_TypeError, "takes %zd arguments, not %zd", wanted, nargs);
        return 0;
    }
    for (Py_ssize_t i = first; i < nargs; i++)
        if (!read_integer(args[i], values + i)) return 0;
    return 1;
}

PyDoc_STRVAR(lookup_doc,
             "lookup(programs, ids, id_bytes, id_stride, samples, out, out_stride, threads) -> bool\n\n"
             "Serve a batch; ids and out are addresses. True if an id was outside its field.");

static PyObject *lookup(PyObject *self, PyObject *const *args, Py_ssize_t nargs) {
    int64_t values[8];
    if (!read_integers(args, nargs, 8, 1, values) || !are_programs(args[0])) return NULL;
    const Job job = {NULL, (const void *)values[1], (int)values[2], values[3], (float *)values[5], values[6], 0};
    return PyBool_FromLong(serve_all(args[0], job, values[4], values[7]));
}

/* The type of tensors that can be exchanged without the interpreter, and its functions; NULL: none. */
static PyTypeObject *tensor_type = NULL;
static const Exchange *exchange = NULL;

PyDoc_STRVAR(use_tensors_doc,
             "use_tensors(type) -> bool\n\nTake and return tensors of this type directly. False if it has no functions for it.");

static PyObject *use_tensors(PyObject *self, PyObject *type) {
    PyObject *capsule = PyObject_GetAttrString(type, "__dlpack_c_exchange_api__");
    const Exchange *found = capsule ? PyCapsule_GetPointer(capsule, "dlpack_exchange_api") : NULL;
    Py_XDECREF(capsule);
    PyErr_Clear();
    if (!found || found->major != EXCHANGE_MAJOR || !found->allocate || !found->wrap || !found->view || !PyType_Check(type) ||
        !use_versions(type))
        Py_RETURN_FALSE;
    Py_INCREF(type);
    Py_XSETREF(tensor_type, (PyTypeObject *)type);
    exchange = found;
    Py_RETURN_TRUE;
}

static void complain(void *context, const char *kind, const char *message) {
    PyGILState_STATE state = PyGILState_Ensure();
    PyErr_SetString(PyExc_MemoryError, message);
    PyGILState_Release(state);
}

PyDoc_STRVAR(seal_doc,
             "seal(tensors) -> bytes | None\n\n"
             "Marks of a tuple of tensors, by which a later call tells whether they are still what they were. None where\n"
             "one of them cannot be marked, or has gaps.");

static PyObject *seal(PyObject *self, PyObject *tensors) {
    PyObject *marks = PyBytes_FromStringAndSize(NULL, PyTuple_Check(tensors) ? PyTuple_GET_SIZE(tensors) * sizeof(Mark) : 0);
    if (!exchange || !marks || !are_sealed(tensors, marks, tensor_type)) {
        Py_XDECREF(marks);
        return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
    }
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(tensors); i++)
        if (!mark_of(exchange, PyTuple_GET_ITEM(tensors, i), (Mark *)PyBytes_AS_STRING(marks) + i)) {
            Py_DECREF(marks);
            Py_RETURN_NONE;
        }
    return marks;
}

PyDoc_STRVAR(serve_doc,
             "serve(programs, tensors, marks, recorders, threads, slots, kept, width, forgiving, ids) -> Tensor | None\n\n"
             "Serve a batch: ids [B, slots] to vectors [B, kept, width]. None if the ids are not such that this can be\n"
             "done right here, if one is outside its field and forgiving is 0, if one of tensors is not as its mark says\n"
             "(marks None: not looked at), or if a function of recorders says yes. threads() is asked where a batch is worth more than one.");

static PyObject *serve_tensor(PyObject *self, PyObject *const *args, Py_ssize_t nargs) {
    int64_t slots, kept, width, forgiving, threads = 1;
    TensorView ids;
    if (nargs != 10) {
        PyErr_SetString(PyExc_TypeError, "serve takes 10 arguments");
        return NULL;
    }
    if (!exchange || Py_TYPE(args[9]) != tensor_type) Py_RETURN_NONE;
    const int watched = args[2] != Py_None;
    if (!are_programs(args[0]) || (watched && !are_sealed(args[1], args[2], tensor_type)) || !PyTuple_Check(args[3]) ||
        !read_integer(args[5], &slots) || !read_integer(args[6], &kept) || !read_integer(args[7], &width) ||
        !read_integer(args[8], &forgiving))
        return NULL;
    const int recorded = any_says_yes(args[3]);
    if (recorded < 0) return NULL;
    if (recorded || (watched && !unchanged(exchange, args[1], args[2]))) Py_RETURN_NONE;
    if (exchange->view(args[9], &ids)) {
        PyErr_Clear();
        Py_RETURN_NONE;
    }
    if (ids.device != DEVICE_CPU || ids.dimensions != 2 || ids.shape[1] != slots || ids.code != CODE_INT ||
        (ids.bits != 32 && ids.bits != 64) || ids.lanes != 1 || (ids.strides && ids.shape[1] > 1 && ids.strides[1] != 1))
        Py_RETURN_NONE;
    const int64_t samples = ids.shape[0], stride = ids.strides ? ids.strides[0] : ids.shape[1];
    if (samples * kept * width * 4 / WORTH_A_THREAD > 1) {
        PyObject *number = PyObject_CallNoArgs(args[4]);
        const int read = number && read_integer(number, &threads);
        Py_XDECREF(number);
        if (!read) return NULL;
    }
    int64_t shape[3] = {samples, kept, width};
    TensorView like = {.device = DEVICE_CPU, .dimensions = 3, .code = CODE_FLOAT, .bits = 32, .lanes = 1, .shape = shape};
    OwnedTensor *made = NULL;
    if (exchange->allocate(&like, &made, NULL, complain)) return NULL;
    float *out = (float *)((char *)made->view.data + made->view.offset);
    const Job job = {NULL, (const char *)ids.data + ids.offset, ids.bits / 8, stride, out, kept * width, 0};
    const int outside = serve_all(args[0], job, samples, threads);
    void *object = NULL;
    if (outside && !forgiving) {
        if (made->drop) made->drop(made);
        Py_RETURN_NONE;
    }
    if (exchange->wrap(made, &object)) return NULL;
    return object;
}

PyDoc_STRVAR(touch_doc,
             "touch(table, row_bytes, rows, count, threads) -> int\n\n"
             "Read every cache line of rows (int64 numbers) of a table, with prefetch, and do nothing else: the limit of\n"
             "what a gather can reach.");

typedef struct {
    const uint8_t *table;
    int64_t row_bytes;
    const int64_t *rows;
    int64_t count, chunk, next;
    uint64_t sum;
} Touched;

static void touch_rows(void *argument) {
    Touched *all = argument;
    const int64_t row_bytes = all->row_bytes, ahead = 16;
    uint64_t sum = 0;
    for (;;) {
        const int64_t begin = __atomic_fetch_add(&all->next, all->chunk, __ATOMIC_RELAXED);
        if (begin >= all->count) break;
        const int64_t end = begin + all->chunk < all->count ? begin + all->chunk : all->count;
        for (int64_t i = begin; i < end; i++) {
            const uint8_t *next = all->table + all->rows[i + ahead < end ? i + ahead : i] * row_bytes;
            for (int64_t at = 0; at < row_bytes; at += 64) __builtin_prefetch(next + at);
            __builtin_prefetch(next + row_bytes - 1);
            const uint8_t *row = all->table + all->rows[i] * row_bytes;
            for (int64_t at = 0; at < row_bytes; at += 64) sum += row[at];
            sum += row[row_bytes - 1];
        }
    }
    __atomic_fetch_add(&all->sum, sum, __ATOMIC_RELAXED);
}

static PyObject *touch(PyObject *self, PyObject *const *args, Py_ssize_t nargs) {
    int64_t values[5];
    if (!read_integers(args, nargs, 5, 0, values)) return NULL;
    const int64_t count = values[3], threads = parallel && values[4] > 1 ? values[4] : 1;
    Touched all = {(const uint8_t *)values[0], values[1], (const int64_t *)values[2], count, count, 0, 0};
    if (threads > 1) {
        all.chunk = count / (threads * 8) + 1;
        parallel(touch_rows, &all, (unsigned)threads, 0);
    } else
        touch_rows(&all);
    return PyLong_FromUnsignedLongLong(all.sum);
}

PyDoc_STRVAR(use_huge_pages_doc,
             "use_huge_pages(address, bytes) -> bool\n\nMove memory into pages of 2 MiB where the system allows it; its content stays.");

/* Rows read at random miss the translation of nearly every small page. Linux moves what is there already on request
 * (MADV_COLLAPSE, since 6.1); before that, what is written from now on. Only whole pages: no byte beyond the memory. */
static PyObject *use_huge_pages(PyObject *self, PyObject *const *args, Py_ssize_t nargs) {
    int64_t values[2];
    if (!read_integers(args, nargs, 2, 0, values)) return NULL;
    int moved = 0;
#ifdef __linux__
    const uintptr_t page = 2 << 20, begin = ((uintptr_t)values[0] + page - 1) & ~(page - 1);
    const uintptr_t end = ((uintptr_t)values[0] + (uintptr_t)values[1]) & ~(page - 1);
    enum { HUGEPAGE = 14, COLLAPSE = 25 };
    if (begin < end) {
        Py_BEGIN_ALLOW_THREADS
        madvise((void *)begin, end - begin, HUGEPAGE);
        moved = madvise((void *)begin, end - begin, COLLAPSE) == 0;
        Py_END_ALLOW_THREADS
    }
#endif
    return PyBool_FromLong(moved);
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
                                {"seal", seal, METH_O, seal_doc},
                                {"serve", (PyCFunction)(void (*)(void))serve_tensor, METH_FASTCALL, serve_doc},
                                {"use_tensors", use_tensors, METH_O, use_tensors_doc},
                                {"touch", (PyCFunction)(void (*)(void))touch, METH_FASTCALL, touch_doc},
                                {"use_huge_pages", (PyCFunction)(void (*)(void))use_huge_pages, METH_FASTCALL, use_huge_pages_doc},
                                {"use_threads", use_threads, METH_O, use_threads_doc},
                                {"choose", choose, METH_O, choose_doc},
                                {"available", available, METH_NOARGS, available_doc},
                                {"in_use", in_use, METH_NOARGS, in_use_doc},
                                {NULL, NULL, 0, NULL}};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_kernels", "Compiled lookups of packed rows.", -1, methods};

PyMODINIT_FUNC PyInit__kernels(void) {
    for (int i = 0; i < 3; i++)
        if (supported(i)) chosen = supported(i);
    PyObject *module = PyModule_Create(&definition);
    if (module != NULL && PyModule_AddStringConstant(module, "digest", KERNEL_DIGEST) < 0) Py_CLEAR(module);
    return module;
}
