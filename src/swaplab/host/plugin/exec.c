// What a recorded program executes is to be recorded too.
//
// The emulator would hand execve() to the kernel, and the new program would run natively. So the plugin calls
// execve(emulator, the same plugin, program) itself, after resolving "#!" as the kernel does.
#define _GNU_SOURCE
#include "plugin.h"
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { HEAD = 256, SCRIPTS_MAX = 4, PREFIX = 2 * SCRIPTS_MAX + 1 };
enum kind { ABSENT, OTHER, PROGRAM, SCRIPT, FOREIGN };
static char emulator[4096], command_line[1 << 14];
static char *plugin, *own_program; // inside command_line: emulator -plugin PLUGIN -0 NAME PROGRAM ...

void exec_install(void) {
    int fd = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
    char *at = command_line;
    if (readlink("/proc/self/exe", emulator, sizeof emulator - 1) < 0 || read(fd, at, sizeof command_line - 1) < 0) abort();
    close(fd);
    for (int i = 0; i < 5; i++) {
        at += strlen(at) + 1;
        if (i == 1) plugin = at;
    }
    own_program = at;
}

static enum kind kind_of(const char *path, char *head) {
    struct stat status;
    memset(head, 0, HEAD);
    if (access(path, X_OK) || stat(path, &status) || !S_ISREG(status.st_mode)) return ABSENT;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = fd < 0 ? -1 : read(fd, head, HEAD - 1);
    if (fd >= 0) close(fd);
    bool other_user = (status.st_mode & S_ISUID && status.st_uid != geteuid()) ||
                      (status.st_mode & S_ISGID && status.st_gid != getegid());
    if (length < 0 || other_user) return FOREIGN; // an emulator would run it without its rights
    if (!memcmp(head, "#!", 2)) return SCRIPT;
    if (memcmp(head, "\177ELF", 4)) return OTHER;
    return head[4] == 2 && head[18] == 62 ? PROGRAM : FOREIGN; // 64 bits, x86-64
}

static char **strings(uint64_t array, size_t *count) {
    uint64_t *guest = array ? host_address(array) : &(uint64_t){0};
    for (*count = 0; guest[*count]; ++*count);
    char **result = calloc(*count + 1, sizeof *result);
    for (size_t i = 0; i < *count; i++) result[i] = host_address(guest[i]);
    return result;
}

bool exec_followed(uint64_t path, uint64_t argv, uint64_t envp) {
    static char heads[SCRIPTS_MAX + 1][HEAD];
    char *target = path ? host_address(path) : "", *prefix[PREFIX];
    if (!strcmp(target, "/proc/self/exe")) target = own_program;
    size_t argc, envc, first = PREFIX - 1, scripts = 0;
    enum kind kind;
    char **arguments = strings(argv, &argc), **environment = strings(envp, &envc);
    prefix[first] = argc ? arguments[0] : "";
    while ((kind = kind_of(target, heads[scripts])) == SCRIPT && scripts < SCRIPTS_MAX) {
        char *rest = heads[scripts++] + 2;          // "#! INTERPRETER [ONE ARGUMENT]"
        rest[strcspn(rest, "\n")] = 0;
        for (size_t end = strlen(rest); end && strchr(" \t", rest[end - 1]);) rest[--end] = 0;
        char *interpreter = rest + strspn(rest, " \t");
        char *argument = interpreter + strcspn(interpreter, " \t");
        if (*argument) *argument++ = 0;
        argument += strspn(argument, " \t");
        prefix[first] = target;
        if (*argument) prefix[--first] = argument;
        prefix[--first] = target = interpreter;
    }
    if (kind == PROGRAM) {
        char **all = calloc(5 + PREFIX + argc + 1, sizeof *all), **end = all;
        for (char **s = (char *[]){emulator, "-plugin", plugin, "-0", prefix[first], target, NULL}; *s;) *end++ = *s++;
        while (++first < PREFIX) *end++ = prefix[first];
        for (size_t i = 1; i < argc; i++) *end++ = arguments[i];
        execve(emulator, all, environment);
        free(all);
    }
    free(arguments);
    free(environment);
    return kind == FOREIGN || kind == PROGRAM;
}
