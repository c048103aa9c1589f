// The page recorder: a plugin of QEMU's user-mode emulator, `qemu-x86_64 -plugin recorder.so,dir=...,window=...`.
//
// Every load and store of the program comes to touch(), which drops what the window of its thread has seen lately.
// What is left goes to store.c. System calls tell which memory files back, and what else the kernel writes.
#define _GNU_SOURCE
#include "plugin.h"
#include "qemu.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

struct seen { uint64_t access, at; };
struct thread {
    struct writer writer;
    uint64_t recorded, arguments[4]; // of the system call under way
    struct seen window[];
};

__attribute__((visibility("default"))) int qemu_plugin_version = PLUGIN_API;
static uint64_t window, slots = 512, window_shift = 64 - 9;
static __thread struct thread *self __attribute__((tls_model("initial-exec")));

static __attribute__((noinline)) struct thread *enter(void) {
    self = calloc(1, sizeof *self + slots * sizeof(struct seen));
    store_enter(&self->writer);
    return self;
}

static void leave(void) {
    if (self) store_leave(&self->writer);
    free(self);
    self = NULL;
}

static void forked(void) { // in the child
    leave();
    store_forked();
}

static bool known(struct thread *t, const struct seen *seen, uint64_t page, uint64_t write) {
    return seen->access >> 1 == page && (seen->access & 1) >= write && t->recorded - seen->at <= window;
}

static void missed(struct thread *t, struct seen pair[2], uint64_t page, uint64_t write) {
    struct seen first = pair[0], second = pair[1];
    if (first.access >> 1 != page) pair[1] = first;
    if (known(t, &second, page, write)) pair[0] = second;
    else {
        pair[0] = (struct seen){page << 1 | write, t->recorded++};
        store_access(&t->writer, page, write);
    }
}

// The window is a table of pairs, the latest first. More than two pages that fall together only make repeats remain.
static inline void touch(struct thread *t, uint64_t page, uint64_t write) {
    struct seen *pair = &t->window[page * 0x9e3779b97f4a7c15 >> window_shift & ~1ull];
    if (!known(t, pair, page, write)) missed(t, pair, page, write);
}

static __attribute__((noinline)) void refresh(struct thread *t) {
    memset(t->window, 0, slots * sizeof(struct seen));
    shared->accesses += REFRESH;
}

static void touched(unsigned vcpu, uint32_t info, uint64_t address, void *data) {
    struct thread *t = self ? self : enter();
    bool write = qemu_plugin_mem_is_store(info);
    if (++t->writer.block->accesses % REFRESH == 0) refresh(t);
    touch(t, address >> 12, write);
    uint64_t room = 4096 - (address & 4095);
    if (room < 64 && room < 1u << qemu_plugin_mem_size_shift(info)) touch(t, (address >> 12) + 1, write);
}

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *tb) {
    for (size_t i = 0; i < qemu_plugin_tb_n_insns(tb); i++) // 7.2 confuses loads and stores if asked for one of them
        qemu_plugin_register_vcpu_mem_cb(qemu_plugin_tb_get_insn(tb, i), touched, QEMU_PLUGIN_CB_NO_REGS,
                                         QEMU_PLUGIN_MEM_RW, NULL);
}

static void kernel_touches(struct thread *t, uint64_t address, int64_t bytes, uint64_t write) {
    for (uint64_t page = address >> 12; bytes > 0 && page <= (address + bytes - 1) >> 12; page++) touch(t, page, write);
}

static void syscall_starts(qemu_plugin_id_t id, unsigned vcpu, int64_t number, uint64_t a1, uint64_t a2, uint64_t a3,
                           uint64_t a4, uint64_t a5, uint64_t a6, uint64_t a7, uint64_t a8) {
    struct thread *t = self ? self : enter();
    memcpy(t->arguments, (uint64_t[]){a1, a2, a3, a4}, sizeof t->arguments);
    switch (number) {
    case SYS_munmap: store_range(&t->writer, ANONYMOUS, a1, a2); break;
    case SYS_exit_group: store_sample(); break;
    case SYS_exit: store_sample(); leave(); break;
    case SYS_execveat: shared->unfollowed++; break;
    case SYS_execve: store_sample(); shared->unfollowed += exec_followed(a1, a2, a3);
    }
}

static void syscall_ends(qemu_plugin_id_t id, unsigned vcpu, int64_t number, int64_t result) {
    struct thread *t = self ? self : enter();
    uint64_t *a = t->arguments;
    if (result < 0 && result > -4096) return;
    switch (number) {
    case SYS_mmap: {
        enum what file = (a[3] & MAP_TYPE) == MAP_PRIVATE ? PRIVATE_FILE : SHARED_FILE;
        store_range(&t->writer, a[3] & MAP_ANONYMOUS ? ANONYMOUS : file, result, a[1]);
        break;
    }
    case SYS_mremap: store_range(&t->writer, ANONYMOUS, result, a[2]); break;
    case SYS_read: case SYS_pread64: case SYS_recvfrom: kernel_touches(t, a[1], result, 1); break;
    case SYS_write: case SYS_pwrite64: case SYS_sendto: kernel_touches(t, a[1], result, 0); break;
    case SYS_getrandom: kernel_touches(t, a[0], result, 1);
    }
}

__attribute__((visibility("default")))
int qemu_plugin_install(qemu_plugin_id_t id, const void *info, int argc, char **argv) {
    char directory[3072] = "";
    uint64_t sample_pages = 0;
    for (int i = 0; i < argc; i++) {
        sscanf(argv[i], "dir=%3071[^\n]", directory);
        sscanf(argv[i], "window=%lu", &window);
        sscanf(argv[i], "samples=%lu", &sample_pages);
    }
    for (; slots < 8 * window; window_shift--) slots *= 2;
    if (!store_install(directory, sample_pages)) return perror(directory), -1;
    exec_install();
    pthread_atfork(NULL, NULL, forked);
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_vcpu_syscall_cb(id, syscall_starts);
    qemu_plugin_register_vcpu_syscall_ret_cb(id, syscall_ends);
    return 0;
}
