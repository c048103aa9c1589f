// Programs whose page accesses are known by construction. All happen in one region, at a fixed address.
#define _GNU_SOURCE
#include <cpuid.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/shm.h>
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
static volatile char got; // a load whose value is not used may never be made
static void get(int page) { got = region[page * (size_t)PAGE + 8]; }

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

static int limits(char **arguments) { // the size of files, below what is recorded of these pages
    setrlimit(RLIMIT_FSIZE, &(struct rlimit){4096, RLIM_INFINITY});
    anonymous(10000);
    for (int i = 0; i < 10000; i++) put(i);
    return 0;
}

static int sleeps(char **arguments) {
    anonymous(1);
    put(0);
    puts("ready");
    fflush(stdout);
    for (;;) pause();
}

static int frees(char **arguments) { // pages 0 to 9; 2 to 4 are unmapped and mapped again, 6 and 7 discarded
    anonymous(10);
    for (int i = 0; i < 10; i++) put(i);
    munmap((void *)(region + 2 * PAGE), 3 * PAGE);
    mmap((void *)(region + 2 * PAGE), 3 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    put(3);
    madvise((void *)(region + 6 * PAGE), 2 * PAGE, MADV_DONTNEED);
    put(6);
    return 0;
}

static void map_shared(const char *kind) { // four pages: "anonymous", "memfd", "posix" or "system-v"
    int fd = -1, id = *kind == 's' ? shmget(IPC_PRIVATE, 4 * PAGE, 0600) : -1;
    if (*kind == 'm') fd = memfd_create("pages", 0);
    if (*kind == 'p') fd = shm_open("/swaplab-test-pages", O_RDWR | O_CREAT, 0600), shm_unlink("/swaplab-test-pages");
    if (fd >= 0 && ftruncate(fd, 4 * PAGE)) exit(93);
    if (id < 0) map(4, fd < 0 ? MAP_SHARED | MAP_ANONYMOUS : MAP_SHARED, fd);
    else if (shmat(id, (void *)region, 0) != region || shmctl(id, IPC_RMID, NULL)) exit(89);
    if (fd >= 0) close(fd);
}

static int shares(char **arguments) { // pages 0 to 3 of memory that the child has too, of a kind
    map_shared(arguments[0]);
    put(0), put(1);
    if (!fork()) {
        put(1), put(2);
        _exit(0);
    }
    wait(NULL);
    get(2);
    if (*arguments[0] == 's') shmdt((void *)region);
    else munmap((void *)region, 4 * PAGE);
    return 0;
}

static int illegal(char **arguments) { // an instruction that valgrind does not know, after page 0
    anonymous(1);
    put(0);
    __asm__ volatile(".byte 0x62, 0xf1, 0x7d, 0x48, 0xfe, 0xc0"); // vpaddd zmm0, zmm0, zmm0
    return 0;
}

static int moves(char **arguments) { // pages 0 to 3 to 10 to 13, and back; then what is mapped in their place is new
    anonymous(4);
    for (int i = 0; i < 4; i++) put(i);
    void *to = (void *)(region + 10 * PAGE);
    if (mremap((void *)region, 4 * PAGE, 4 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to) != to) return 92;
    get(12);
    anonymous(4);
    put(2);
    return 0;
}

static int borrows(char **arguments) { // a child of vfork writes to its parent's page 0, then executes `walk w1`
    anonymous(2);
    put(1);
    if (!vfork()) {
        put(0);
        execl("/proc/self/exe", "programs", "walk", "w1", NULL);
        _exit(91);
    }
    wait(NULL);
    get(0);
    return 0;
}

static int drops(char **arguments) { // its rights and its root, then forks
    anonymous(2);
    put(0);
    if (chroot("/var") || setgid(65534) || setuid(65534)) return 90;
    if (!fork()) {
        put(1);
        _exit(0);
    }
    wait(NULL);
    return 0;
}

static int daemonizes(char **arguments) { // ends at once; what stays touches page 1 a while later
    anonymous(2);
    put(0);
    if (fork()) _exit(0);
    setsid();
    if (fork()) _exit(0);
    for (int i = 0; i < 3; i++) close(i);
    usleep(600000);
    put(1);
    return 0;
}

static sigjmp_buf back;
static void faulted(int number) { siglongjmp(back, 1); }

static int faults(char **arguments) { // touches page 1, which it may not, and lives
    anonymous(1);
    signal(SIGSEGV, faulted);
    if (!sigsetjmp(back, 1)) put(1);
    put(0);
    return 0;
}

static int features(char **arguments) { // of the processor: page 0 for SSE2, which all have, 1 for FMA, 2 for AVX2
    unsigned a, b, c, d;
    anonymous(3);
    __get_cpuid(1, &a, &b, &c, &d);
    if (d & bit_SSE2) put(0);
    if (c & bit_FMA) put(1);
    if (__get_cpuid_count(7, 0, &a, &b, &c, &d) && b & bit_AVX2) put(2);
    return 0;
}

int main(int count, char **arguments) {
    static const struct { const char *name; int (*run)(char **); } programs[] = {
        {"walk", walk}, {"straddle", straddle}, {"add", add}, {"again", again}, {"spin", spin}, {"threads", threads},
        {"forks", forks}, {"spawns", spawns}, {"files", files}, {"kernel", kernel}, {"fill", fill},
        {"closes", closes}, {"sleeps", sleeps}, {"frees", frees}, {"shares", shares}, {"illegal", illegal}, {"limits", limits},
        {"moves", moves},
        {"borrows", borrows}, {"drops", drops}, {"daemonizes", daemonizes}, {"faults", faults},
        {"features", features},
    };
    for (size_t i = 0; count > 1 && i < sizeof programs / sizeof *programs; i++)
        if (!strcmp(arguments[1], programs[i].name)) return programs[i].run(arguments + 2);
    return 94;
}
