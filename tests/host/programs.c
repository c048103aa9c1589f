// Programs whose page accesses are known by construction. All happen in one region, at a fixed address.
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAGE = 4096 };
static volatile char *const region = (volatile char *)0x700000000000;

static void map(int pages, int flags, int fd) {
    int protection = PROT_READ | PROT_WRITE;
    if (mmap((void *)region, (size_t)pages * PAGE, protection, flags | MAP_FIXED, fd, 0) != region) exit(99);
}

static void anonymous(int pages) { map(pages, MAP_PRIVATE | MAP_ANONYMOUS, -1); }
static void put(int page) { region[page * (size_t)PAGE + 8] = 1; }
static void get(int page) { (void)region[page * (size_t)PAGE + 8]; }

static int walk(char **arguments) { // each argument is r or w and a page
    anonymous(1000);
    for (; *arguments; arguments++) (**arguments == 'w' ? put : get)(atoi(*arguments + 1));
    return 0;
}

static int straddle(char **arguments) { // a store that begins on page 0 and ends on page 1
    anonymous(2);
    *(volatile uint64_t *)(region + PAGE - 4) = 1;
    return 0;
}

static int add(char **arguments) { // an atomic addition writes
    anonymous(1);
    __atomic_fetch_add((volatile int *)region, 1, __ATOMIC_SEQ_CST);
    return 0;
}

static int again(char **arguments) { // one page over and over; in between so many others
    anonymous(1000);
    for (int i = 0; i < 1000; i++) get(0);
    put(0);
    for (int i = 0; i < 1000; i++) get(0), put(0);
    for (int i = 1; i <= atoi(arguments[0]); i++) put(i);
    get(0);
    return 0;
}

static int spin(char **arguments) { // one page, so many times
    anonymous(1);
    for (long i = atol(arguments[0]); i--;) get(0);
    return 0;
}

static void *worker(void *first) {
    for (int i = 0; i < 50; i++) put((int)(intptr_t)first + i);
    return NULL;
}

static int threads(char **arguments) {
    pthread_t a, b;
    anonymous(100);
    pthread_create(&a, NULL, worker, (void *)0);
    pthread_create(&b, NULL, worker, (void *)50);
    pthread_join(a, NULL);
    pthread_join(b, NULL);
    return 0;
}

static int forks(char **arguments) { // child: pages 0-4; then the parent: 5-9; then a script that runs `walk SCRIPT w10`
    anonymous(20);
    pid_t child = fork();
    if (!child) {
        for (int i = 0; i < 5; i++) put(i);
        _exit(0);
    }
    waitpid(child, NULL, 0);
    for (int i = 5; i < 10; i++) put(i);
    char *command[] = {arguments[0], "w10", NULL}, *environment[] = {"A=1", NULL};
    execve(arguments[0], command, environment);
    return 98;
}

static int spawns(char **arguments) { // by posix_spawn; then what cannot be executed
    pid_t child;
    char *command[] = {"/proc/self/exe", "walk", "w3", NULL};
    if (posix_spawn(&child, command[0], NULL, NULL, command, NULL)) return 97;
    waitpid(child, NULL, 0);
    execv("/nonexistent", command);
    execv(arguments[0], command);
    return 0;
}

static int files(char **arguments) { // arguments: a file of four pages
    int fd = open(arguments[0], O_RDWR);
    map(4, MAP_PRIVATE, fd);
    get(0), get(1), put(1), get(1), get(2);
    map(4, MAP_SHARED, fd);
    put(3), get(1);
    munmap((void *)region, 4 * PAGE);
    anonymous(4);
    get(2), put(0);
    return 0;
}

static int kernel(char **arguments) { // the kernel writes pages 0 to 2 and reads page 3
    int fd = open(arguments[0], O_RDWR), out = open("/dev/null", O_WRONLY);
    anonymous(4);
    if (read(fd, (void *)(region + 100), 2 * PAGE) != 2 * PAGE) return 96;
    if (write(out, (void *)(region + 3 * PAGE), 10) != 10) return 95;
    return 0;
}

static int fill(char **arguments) { // so many pages, each full of its number; then the end named
    int pages = atoi(arguments[0]);
    anonymous(pages);
    for (int i = 0; i < pages; i++)
        for (int j = 0; j < PAGE / 4; j++) ((volatile uint32_t *)region)[i * (PAGE / 4) + j] = 1000 + i;
    if (arguments[1]) raise(atoi(arguments[1]));
    return 7;
}

static int closes(char **arguments) { // all descriptors, then writes to the ones it opens in their place
    for (int i = 3; i < 1024; i++) close(i);
    int fd = open(arguments[0], O_RDWR);
    walk((char *[]){"w1", "w2", NULL});
    for (int i = 0; i < 20000; i++) put(i % 1000);
    return write(fd, "kept", 4) != 4;
}

static int sleeps(char **arguments) {
    anonymous(1);
    put(0);
    puts("ready");
    fflush(stdout);
    for (;;) pause();
}

int main(int count, char **arguments) {
    static const struct { const char *name; int (*run)(char **); } programs[] = {
        {"walk", walk}, {"straddle", straddle}, {"add", add}, {"again", again}, {"spin", spin}, {"threads", threads},
        {"forks", forks}, {"spawns", spawns}, {"files", files}, {"kernel", kernel}, {"fill", fill},
        {"closes", closes}, {"sleeps", sleeps},
    };
    for (size_t i = 0; count > 1 && i < sizeof programs / sizeof *programs; i++)
        if (!strcmp(arguments[1], programs[i].name)) return programs[i].run(arguments + 2);
    return 94;
}
