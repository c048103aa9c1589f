// Where the page recorder's words go: blocks of the file "blocks", which all threads of all processes share.
//
// Blocks are shared mappings, so that what is written stays, however the program dies. swaplab/host/raw.py reads them.
// No descriptor stays open between two calls: a program may close, and reuse, every number that it can count to.
#define _GNU_SOURCE
#include "plugin.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define TICKS_MAX (1ull << 26) // a word is an access: bits 36-61 ticks of 16 ns since the mark, 1-35 page, 0 write;
#define MARK (1ull << 62)      // or a mark: the time in ns;
#define RANGE (2ull << 62)     // or, right behind a mark: bits 56-61 what the pages from bits 0-55 on are now,
#define LENGTH (3ull << 62)    // and then how many they are

struct candidate { uint64_t page, moments; };

struct shared *shared;
static struct candidate *candidates; // one page for each bucket of the sample
static uint64_t buckets;
static uint32_t process = UINT32_MAX, parent = UINT32_MAX;
static char directory[3072];
static struct block lost; // takes the words when there is no room for them

static int open_file(const char *name, long number, int flags) {
    char path[sizeof directory + 64];
    snprintf(path, sizeof path, number < 0 ? "%s/%s" : "%s/%s.%ld", directory, name, number);
    return open(path, flags | O_CLOEXEC, 0600);
}

static void keep_copy(const char *path, const char *name) {
    char bytes[1 << 14];
    int from = open(path, O_RDONLY | O_CLOEXEC), to = open_file(name, process, O_WRONLY | O_CREAT);
    for (ssize_t n; (n = read(from, bytes, sizeof bytes)) > 0;)
        if (write(to, bytes, n) != n) shared->error = ENOSPC;
    close(from);
    close(to);
}

static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static uint64_t hash(uint64_t x) { // the finalizer of splitmix64; raw.py has the same
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
    x = (x ^ x >> 27) * 0x94d049bb133111eb;
    return x ^ x >> 31;
}

// The sample has, for each bucket of the pages written, the one with the least hash: uniform, whatever the footprint.
static void consider(uint64_t page) {
    uint64_t h = hash(page);
    struct candidate *c = &candidates[h % buckets];
    if (!c->page || h < hash(c->page)) *c = (struct candidate){page, 0};
}

// Each call is a moment; the contents of a page that stay are those of any of its moments with equal chance.
void store_sample(void) {
    int fd = buckets ? open_file("samples", process, O_WRONLY | O_CREAT) : -1;
    for (uint64_t i = 0; i < buckets; i++) {
        struct candidate *c = &candidates[i];
        if (!c->page) continue;
        c->moments++;
        if (hash(i << 32 | c->moments) % c->moments) continue;
        struct iovec parts[] = {{host_address(c->page << 12), SLOT_BYTES - 8}, {&c->page, 8}};
        if (pwritev(fd, parts, 2, i * SLOT_BYTES) < 0 && errno != EFAULT) shared->error = errno; // EFAULT: unmapped
    }
    if (fd >= 0) close(fd);
}

static void next_block(struct writer *w) {
    off_t at = 4096 + (off_t)sizeof(struct block) * shared->blocks++;
    int fd = open_file("blocks", -1, O_RDWR), error = fd < 0 ? errno : posix_fallocate(fd, at, sizeof(struct block));
    void *block = error ? MAP_FAILED : mmap(NULL, sizeof(struct block), PROT_READ | PROT_WRITE, MAP_SHARED, fd, at);
    if (block == MAP_FAILED) shared->error = error ? error : errno;
    if (fd >= 0) close(fd);
    w->block = block == MAP_FAILED ? &lost : block;
    w->block->process = process;
    w->block->parent = parent;
    w->block->words[0] = MARK | (w->base = now());
    w->used = 1;
}

void store_leave(struct writer *w) {
    shared->accesses += w->block->accesses % REFRESH;
    w->block == &lost ? (void)(lost.accesses = 0) : (void)munmap(w->block, sizeof(struct block));
}

void store_enter(struct writer *w) { // a thread's first access, and maybe its process's
    if (process == UINT32_MAX) {
        process = shared->processes++;
        for (uint64_t i = 0; i < buckets; i++) candidates[i].moments = 0;
        keep_copy("/proc/self/maps", "maps");
        keep_copy("/proc/self/cmdline", "command");
    }
    next_block(w);
}

void store_forked(void) {
    parent = process;
    process = UINT32_MAX;
}

static uint64_t *reserve(struct writer *w, unsigned words) {
    if (w->used + words > WORDS) {
        store_sample();
        store_leave(w);
        next_block(w);
    }
    w->used += words;
    return &w->block->words[w->used - words];
}

void store_access(struct writer *w, uint64_t page, uint64_t write) {
    uint64_t time = now();
    if ((time - w->base) >> 4 >= TICKS_MAX) *reserve(w, 1) = MARK | (w->base = time);
    uint64_t *word = reserve(w, 1); // a new block has a later base
    *word = (time > w->base ? (time - w->base) >> 4 : 0) << 36 | page << 1 | write;
    if (write && buckets) consider(page);
}

void store_range(struct writer *w, enum what what, uint64_t address, uint64_t bytes) {
    uint64_t *words = reserve(w, 3);
    words[0] = MARK | (w->base = now());
    words[1] = RANGE | (uint64_t)what << 56 | address >> 12;
    words[2] = LENGTH | (bytes + 4095) >> 12;
}

bool store_install(const char *path, uint64_t sample_pages) {
    snprintf(directory, sizeof directory, "%s", path);
    buckets = sample_pages;
    candidates = calloc(buckets, sizeof *candidates);
    int fd = open_file("blocks", -1, O_RDWR);
    shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    return shared != MAP_FAILED;
}
