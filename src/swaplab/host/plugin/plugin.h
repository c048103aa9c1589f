// What the parts of the page recorder share: plugin.c (what is recorded), store.c (where it goes), exec.c (who else).
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// After so many accesses a window forgets, so that a page in use is recorded again and again and does not look cold.
#define REFRESH (1ull << 22)

// store.c
enum { WORDS = 4094, SLOT_BYTES = 4104 }; // of a block, which is 32 KiB with its header; of a sampled page and its number
enum what { ANONYMOUS, PRIVATE_FILE, SHARED_FILE };
struct shared { _Atomic uint64_t blocks, processes, accesses, unfollowed, error; }; // the first page of "blocks"
struct block { uint32_t process, parent; uint64_t accesses, words[WORDS]; };
struct writer { struct block *block; uint64_t used, base; }; // one for each thread: its block, how full, time of the mark
extern struct shared *shared;
bool store_install(const char *directory, uint64_t sample_pages);
void store_enter(struct writer *);
void store_access(struct writer *, uint64_t page, uint64_t write);
void store_range(struct writer *, enum what, uint64_t address, uint64_t bytes);
void store_sample(void);
void store_leave(struct writer *);
void store_forked(void);

// exec.c
void exec_install(void);
// Replaces the process by an emulator that runs `path` and records it. Returns when the kernel has to do it instead:
// true if it will run something that nobody records.
bool exec_followed(uint64_t path, uint64_t argv, uint64_t envp);

extern uintptr_t guest_base __attribute__((weak)); // 0 where an emulator of a program like its host hides it
static inline void *host_address(uint64_t guest) { return (void *)(guest + (&guest_base ? guest_base : 0)); }
