// SPDX-License-Identifier: GPL-2.0-or-later
// pages: a tool for valgrind that records which pages a program touches, in order, and what becomes of its memory.
//
// Loads and stores are compared inline with a table of the pages recorded lately; what it does not hold goes to a
// helper, which records it and forgets what has left the window. raw.py reads the files; FORMAT says what they hold.
// valgrind runs one thread at a time, so nothing here is locked.
#include "libvex_guest_amd64.h"
#include "pub_tool_basics.h"
#include "pub_tool_aspacemgr.h"
#include "pub_tool_clientstate.h"
#include "pub_tool_libcbase.h"
#include "pub_tool_libcfile.h"
#include "pub_tool_libcprint.h"
#include "pub_tool_libcproc.h"
#include "pub_tool_options.h"
#include "pub_tool_tooliface.h"
#include "pub_tool_vki.h"
#include "pub_tool_vkiscnums.h"
#include "pub_tool_xarray.h"

// Of valgrind's core, in no header that is installed.
extern Int VG_(safe_fd)(Int fd); // moves a descriptor to where the program cannot close it; closed on exec
extern Bool VG_(clo_trace_children);
extern const HChar *VG_(name_of_launcher);
extern Int VG_(cl_exec_fd);
// Wrapped when the tool is linked.
HChar *__wrap_vgPlain_getenv(const HChar *name);
HChar *__real_vgPlain_getenv(const HChar *name);
const HChar *__wrap_vgPlain_find_executable(const HChar *name);
const HChar *__real_vgPlain_find_executable(const HChar *name);
void __wrap_vgPlain_env_setenv(HChar ***environment, const HChar *name, const HChar *value);
void __real_vgPlain_env_setenv(HChar ***environment, const HChar *name, const HChar *value);
ULong __wrap_vgPlain_di_notify_mmap(Addr a, Bool allow_file_v, Int use_fd);
Int __wrap_vgPlain_check_executable(Bool *is_setuid, const HChar *path, Bool allow_setuid);
Int __real_vgPlain_check_executable(Bool *is_setuid, const HChar *path, Bool allow_setuid);

// ---- FORMAT: PID.N, one file for each program that each process executes, has 64-bit words; the top two bits say what
// 0 access: bit 0 write, 1-36 page, 37-61 ticks since the mark; or 0, room that was not used
// 1 mark: the time stamp counter; ticks are 64 of it
// 2 event, right behind a mark: bits 56-61 what, 0-55 value, most often a page
// 3 argument of the event before it: a number, or 7 bytes of text
enum what {
    START,    // value: parent, if it was forked; N of the parent's file, forks before it, shares its memory; program
    EXIT,     // value: status
    EXECUTE,  // value: 0, or 1 if it failed: then the program goes on
    FORK,     // value: forks before it
    WAITED,   // value: process that was waited for, and is gone
    MAP,      // page; pages, enum backing, file (or id of System V), first page of it
    UNMAP,    // page; pages
    MOVE,     // page; pages, new page, new pages
    DISCARD,  // page; pages
    PUNCH,    // file; first page, pages: they are freed
    UNLINK,   // file
    FILE,     // value: number in this recording file; device, inode, bytes, enum filesystem, name
    READ,     // file; first page, pages
    WRITE,    // the same
    RESIDENT, // value: anonymous pages that the kernel counts in the program's memory
    FOREIGN,  // value: enum reason; path of a program that is executed unrecorded
};
enum backing { ANONYMOUS, PRIVATE_FILE, SHARED_FILE, SHARED_ANONYMOUS, SYSTEM_V };
enum filesystem { OTHER, SHMEM };
enum reason { FOLLOWED, ARCHITECTURE, SETUID, UNREADABLE, NO_VALGRIND };

#define SLOTS 512     // a power of two
#define WINDOW_BITS 12
#define RING (1 << WINDOW_BITS) // the most that a window can be
#define WORDS 8192    // of the buffer
#define FILES 1024    // whose names are known to have been written
#define QUIET 1000000 // blocks of the program's code after which the table is forgotten: no page stays unrecorded
#define TMPFS_MAGIC 0x01021994
#define RLIMIT_FSIZE 1
#define MADV_DONTNEED 4
#define EOPNOTSUPP 95
#define WNOWAIT 0x01000000
#define SELF_FD "/proc/self/fd/"
#define ITSELF "/proc/self/exe"
#define LOG_FD "--log-fd="
#define EXE "--exe="

struct record { Addr page; ULong write, before; }; // before: the record before it in its chain
struct candidate { ULong page, moments; };
struct file { ULong device, inode, number; };
struct counters { ULong accesses, words, error, time; };

static Addr seen[SLOTS], written[SLOTS]; // the page recorded lately in each slot, and again if it was for writing
static ULong at[SLOTS], recorded;        // as which record; how many there are
static struct record ring[RING];         // the latest records
static ULong chains[RING];               // the latest record of each hash of a page
static ULong words[WORDS] __attribute__((aligned(4096)));
static UChar counted_page[4096] __attribute__((aligned(4096))); // then a mapping that all processes share
static struct counters *const counters = (struct counters *)counted_page;
static ULong accesses, told_accesses, mark, forgotten, forks;
static Off64T offset; // of the buffer in the file
static UInt used, number; // words in the buffer; N of the file
static Int process;       // whose file it is
static Int directory = -1, fd = -1, samples_fd = -1;
static Int window = 64;
static Long buckets = 1024;
static struct candidate candidates[1 << 16]; // one page for each bucket of the sample
static struct file files[FILES];
static ULong file_count;
static ULong fresh, resident, resident_most; // pages recorded for writing since the kernel was asked; its answers
static Bool shares_memory; // the process that is being made does until it executes a program

ULong __wrap_vgPlain_di_notify_mmap(Addr a, Bool allow_file_v, Int use_fd) { return 0; } // reads no debug information

// ---- what one program's tool tells the next one's: options, whose values are put in when it is executed

static HChar **option_of_tool(const HChar *name) {
    for (Word i = 0; i < VG_(sizeXA)(VG_(args_for_valgrind)); i++) {
        HChar **argument = VG_(indexXA)(VG_(args_for_valgrind), i);
        if (!VG_(strncmp)(*argument, name, VG_(strlen)(name))) return argument;
    }
    return NULL;
}

static Int log_descriptor(void) { return VG_(strtoll10)(*option_of_tool(LOG_FD) + sizeof LOG_FD - 1, NULL); }

// What executes itself as /proc/self/exe means the program, which this process is not to the kernel.
const HChar *__wrap_vgPlain_find_executable(const HChar *name) {
    HChar **itself = option_of_tool(EXE);
    Bool is_itself = itself && !VG_(strcmp)(name, ITSELF);
    return __real_vgPlain_find_executable(is_itself ? *itself + sizeof EXE - 1 : name);
}

// ---- the directory: VALGRIND_LIB names it by its descriptor, since it need not have a path for everybody
// The core sees its own directory there, from which the program preloads.

HChar *__wrap_vgPlain_getenv(const HChar *name) {
    HChar *value = __real_vgPlain_getenv(name);
    if (!value || VG_(strcmp)(name, "VALGRIND_LIB") || VG_(strncmp)(value, SELF_FD, sizeof SELF_FD - 1)) return value;
    directory = VG_(strtoll10)(value + sizeof SELF_FD - 1, NULL);
    return CORE;
}

void __wrap_vgPlain_env_setenv(HChar ***environment, const HChar *name, const HChar *value) {
    HChar path[64];
    VG_(snprintf)(path, sizeof path, SELF_FD "%d", directory);
    __real_vgPlain_env_setenv(environment, name, VG_(strcmp)(name, "VALGRIND_LIB") ? value : path);
}

// ---- system calls that the core has no function for, made where the program's signals and limits do not matter

static Long kernel(UWord call, UWord a1, UWord a2, UWord a3, UWord a4, UWord a5, UWord a6) {
    register UWord r10 __asm__("r10") = a4, r8 __asm__("r8") = a5, r9 __asm__("r9") = a6;
    Long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(call), "D"(a1), "S"(a2), "d"(a3), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}

static Int open_here(const HChar *name, UInt flags) {
    Long opened = kernel(__NR_openat, directory, (UWord)name, flags | VKI_O_RDWR, 0600, 0, 0);
    return opened < 0 ? (Int)opened : VG_(safe_fd)(opened);
}

// What the program may write must not limit what is recorded.
static Long allocate(Off64T from, SizeT size) {
    struct vki_rlimit limit, most;
    VG_(getrlimit)(RLIMIT_FSIZE, &limit);
    most = (struct vki_rlimit){limit.rlim_max, limit.rlim_max};
    kernel(__NR_setrlimit, RLIMIT_FSIZE, (UWord)&most, 0, 0, 0, 0);
    Long error = kernel(__NR_fallocate, fd, 0, from, size, 0, 0);
    if (error == -EOPNOTSUPP) error = kernel(__NR_ftruncate, fd, from + size, 0, 0, 0, 0);
    kernel(__NR_setrlimit, RLIMIT_FSIZE, (UWord)&limit, 0, 0, 0, 0);
    if (error == -VKI_EFBIG) { // it came with a signal, which the program is not to see
        ULong signals = 1ull << (VKI_SIGXFSZ - 1);
        struct vki_timespec none = {0, 0};
        kernel(__NR_rt_sigtimedwait, (UWord)&signals, 0, (UWord)&none, sizeof signals, 0, 0);
    }
    return error;
}

// The addresses are the tool's own, so valgrind need not know that a file is behind them now.
static Bool show(void *address, SizeT size, UInt flags, Int file, Off64T from) {
    return kernel(__NR_mmap, (UWord)address, size, VKI_PROT_READ | VKI_PROT_WRITE, VKI_MAP_FIXED | flags, file, from) ==
           (Long)address;
}

// ---- the sample: for each bucket of the pages written, the one with the least hash

static ULong hash(ULong x) { // the finalizer of splitmix64; sample.py has the same
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
    x = (x ^ x >> 27) * 0x94d049bb133111eb;
    return x ^ x >> 31;
}

static void consider(Addr page) {
    ULong h = hash(page);
    struct candidate *c = &candidates[h % buckets];
    if (!c->page || h < hash(c->page)) *c = (struct candidate){page, 0};
}

// Each call is a moment; the contents of a page that stay are those of any of its moments with equal chance.
static void keep_sample(void) {
    for (Long i = 0; i < buckets && samples_fd >= 0; i++) {
        struct candidate *c = &candidates[i];
        if (!c->page) continue;
        c->moments++;
        if (hash((ULong)i << 32 | c->moments) % c->moments) continue;
        struct vki_iovec parts[] = {{(void *)(c->page << 12), 4096}, {&c->page, 8}}; // fails where it was unmapped
        kernel(__NR_pwritev, samples_fd, (UWord)parts, 2, i * (4096 + 8), 0, 0);
    }
}

// ---- the file: the buffer is a window on it, so what is written stays, however the program ends

static void close_files(void) {
    if (fd >= 0) VG_(close)(fd);
    if (samples_fd >= 0) VG_(close)(samples_fd);
    fd = samples_fd = -1;
    show(words, sizeof words, VKI_MAP_PRIVATE | VKI_MAP_ANONYMOUS, -1, 0);
}

static ULong now(void) { return __builtin_ia32_rdtsc() & ((1ull << 62) - 1); }

static void count_up(void) {
    __atomic_fetch_add(&counters->accesses, accesses - told_accesses, __ATOMIC_RELAXED);
    __atomic_fetch_add(&counters->words, used, __ATOMIC_RELAXED);
    counters->time = now();
    told_accesses = accesses;
}

static void move_to(Off64T to) {
    offset = to;
    used = 0;
    if (fd < 0) return;
    Long error = allocate(to, sizeof words);
    if (!error && show(words, sizeof words, VKI_MAP_SHARED, fd, to)) return;
    counters->error = error ? -error : VKI_ENOMEM;
    close_files();
}

static void put(ULong word) {
    words[used++] = word;
    if (used < WORDS) return;
    keep_sample();
    count_up();
    move_to(offset + sizeof words);
}

static void put_mark(void) { put(1ull << 62 | (mark = now())); }

static void put_event(enum what what, ULong value) {
    put_mark();
    put(2ull << 62 | (ULong)what << 56 | (value & ((1ull << 56) - 1)));
}

static void put_argument(ULong value) { put(3ull << 62 | (value & ((1ull << 62) - 1))); }

static void put_text(const HChar *text) {
    for (SizeT length = VG_(strlen)(text), done = 0; done < length; done += 7) {
        ULong word = 0;
        VG_(memcpy)(&word, text + done, length - done < 7 ? length - done : 7);
        put_argument(word);
    }
}

static ULong pages_of(Addr a, SizeT size) { return ((a & 4095) + size + 4095) >> 12; }

static void put_range(enum what what, Addr a, SizeT size) {
    put_event(what, a >> 12);
    put_argument(pages_of(a, size));
}

static const HChar *program_path(void) {
    static HChar link[64], path[4096];
    VG_(snprintf)(link, sizeof link, SELF_FD "%d", VG_(cl_exec_fd));
    SSizeT length = VG_(readlink)(link, path, sizeof path - 1);
    path[length > 0 ? length : 0] = 0;
    return length > 0 ? path : VG_(args_the_exename);
}

static void put_start(ULong parent, UInt parent_number) {
    put_event(START, parent);
    put_argument(parent_number);
    put_argument(forks);
    put_argument(shares_memory);
    put_text(VG_(strcmp)(VG_(args_the_exename), ITSELF) ? VG_(args_the_exename) : program_path());
}

static void open_files(void) {
    HChar name[64];
    UInt parent_number = number;
    Int parent = process;
    process = VG_(getpid)();
    fd = -VKI_EEXIST;
    for (number = 0; fd == -VKI_EEXIST; number += fd == -VKI_EEXIST) {
        VG_(snprintf)(name, sizeof name, "%d.%u", process, number);
        fd = open_here(name, VKI_O_CREAT | VKI_O_EXCL);
    }
    if (fd < 0) counters->error = -fd;
    VG_(snprintf)(name, sizeof name, "%d.%u.samples", process, number);
    if (fd >= 0 && buckets) samples_fd = open_here(name, VKI_O_CREAT);
    move_to(0);
    put_start(parent, parent_number);
}

// ---- the filter; what is inline in the program's code is in misses()

static void forget(void) {
    VG_(memset)(seen, 0, sizeof seen);
    VG_(memset)(written, 0, sizeof written);
    VG_(memset)(chains, 0, sizeof chains);
}

static void put_access(Addr page, ULong write) {
    ULong time = now(), ticks = (time - mark) >> 6;
    if (time < mark || ticks >> 25) put_mark(), ticks = 0;
    put(ticks << 37 | page << 1 | write);
    fresh += write;
    if (write && buckets) consider(page);
}

// A slot has one page of many. What has lost its slot to another, but is still in the window, gets it back.
static __attribute__((noinline)) void missed(Addr page, ULong write) {
    UInt slot = page % SLOTS, chain = page * 0x9e3779b97f4a7c15 >> (64 - WINDOW_BITS);
    const struct record *found = NULL;
    ULong n = chains[chain];
    for (; n && n + window > recorded; n = found->before) {
        found = &ring[n % RING];
        if (found->page == page && found->write >= write) break;
    }
    if (!n || n + window <= recorded) {
        n = ++recorded;
        struct record *new = &ring[n % RING];
        const struct record *last = &ring[(n - window) % RING]; // of the window, which it leaves now
        if (n > window && at[last->page % SLOTS] == n - window)
            seen[last->page % SLOTS] = written[last->page % SLOTS] = 0;
        *new = (struct record){page, write, chains[chain]};
        chains[chain] = n;
        put_access(page, write);
        found = new;
    }
    if (!window) return;
    at[slot] = n;
    seen[slot] = page;
    written[slot] = found->write ? page : 0;
}

static inline void touch(Addr page, ULong write) {
    if ((write ? written : seen)[page % SLOTS] != page) missed(page, write);
}

static inline void touch_bytes(Addr a, SizeT size, ULong write) {
    touch(a >> 12, write);
    for (Addr page = (a >> 12) + 1; size && page <= (a + size - 1) >> 12; page++) touch(page, write);
}

static VG_REGPARM(2) void missed_read(Addr a, UWord size) { touch_bytes(a, size, 0); }
static VG_REGPARM(2) void missed_write(Addr a, UWord size) { touch_bytes(a, size, 1); }

// ---- instrumentation

static IRExpr *assign(IRSB *out, IRType type, IRExpr *value) {
    IRTemp t = newIRTemp(out->tyenv, type);
    addStmtToIRSB(out, IRStmt_WrTmp(t, value));
    return IRExpr_RdTmp(t);
}

static IRExpr *word(ULong value) { return IRExpr_Const(IRConst_U64(value)); }

static IRExpr *binop(IRSB *out, IROp op, IRExpr *a, IRExpr *b) {
    return assign(out, op == Iop_CmpNE64 ? Ity_I1 : Ity_I64, IRExpr_Binop(op, a, b));
}

// Slots are of the first byte and pages of the last: what straddles two pages always misses.
static IRExpr *misses(IRSB *out, IRExpr *address, UInt size, Bool write) {
    const Addr *table = write ? written : seen;
    IRExpr *slot, *last;
    if (address->tag == Iex_Const) {
        Addr a = address->Iex.Const.con->Ico.U64;
        slot = word((Addr)&table[(a >> 12) % SLOTS]);
        last = word((a + size - 1) >> 12);
    } else {
        IRExpr *shifted = binop(out, Iop_Shr64, address, IRExpr_Const(IRConst_U8(9)));
        slot = binop(out, Iop_Add64, binop(out, Iop_And64, shifted, word((SLOTS - 1) << 3)), word((Addr)table));
        last = size == 1 ? address : binop(out, Iop_Add64, address, word(size - 1));
        last = binop(out, Iop_Shr64, last, IRExpr_Const(IRConst_U8(12)));
    }
    return binop(out, Iop_CmpNE64, assign(out, Ity_I64, IRExpr_Load(Iend_LE, Ity_I64, slot)), last);
}

// Returns how many accesses it adds.
static UInt add(IRSB *out, IRExpr *address, UInt size, Bool write, IRExpr *guard) {
    IRExpr **arguments = mkIRExprVec_2(address, word(size));
    IRDirty *call = write ? unsafeIRDirty_0_N(2, "missed_write", missed_write, arguments)
                          : unsafeIRDirty_0_N(2, "missed_read", missed_read, arguments);
    Bool always = !guard || guard->tag == Iex_Const; // VEX drops what is never done
    call->guard = always ? misses(out, address, size, write) : guard;
    addStmtToIRSB(out, IRStmt_Dirty(call));
    return 1;
}

static UInt add_locked(IRSB *out, const IRStmt *s) {
    const IRTypeEnv *types = out->tyenv;
    IRExpr *data = s->Ist.LLSC.storedata;
    IRType type = data ? typeOfIRExpr(types, data) : typeOfIRTemp(types, s->Ist.LLSC.result);
    return add(out, s->Ist.LLSC.addr, sizeofIRType(type), data != NULL, NULL);
}

static UInt instrument_statement(IRSB *out, const IRStmt *s) {
    const IRTypeEnv *types = out->tyenv;
    switch (s->tag) {
    case Ist_WrTmp:
        if (s->Ist.WrTmp.data->tag != Iex_Load) return 0;
        return add(out, s->Ist.WrTmp.data->Iex.Load.addr, sizeofIRType(s->Ist.WrTmp.data->Iex.Load.ty), False, NULL);
    case Ist_Store:
        return add(out, s->Ist.Store.addr, sizeofIRType(typeOfIRExpr(types, s->Ist.Store.data)), True, NULL);
    case Ist_StoreG: {
        const IRStoreG *g = s->Ist.StoreG.details;
        return add(out, g->addr, sizeofIRType(typeOfIRExpr(types, g->data)), True, g->guard);
    }
    case Ist_LoadG: {
        IRType result = Ity_INVALID, loaded = Ity_INVALID;
        typeOfIRLoadGOp(s->Ist.LoadG.details->cvt, &result, &loaded);
        return add(out, s->Ist.LoadG.details->addr, sizeofIRType(loaded), False, s->Ist.LoadG.details->guard);
    }
    case Ist_CAS: {
        const IRCAS *c = s->Ist.CAS.details;
        return add(out, c->addr, sizeofIRType(typeOfIRExpr(types, c->dataLo)) * (c->dataHi ? 2 : 1), True, NULL);
    }
    case Ist_LLSC: return add_locked(out, s);
    case Ist_Dirty: {
        const IRDirty *d = s->Ist.Dirty.details;
        return d->mFx == Ifx_None ? 0 : add(out, d->mAddr, d->mSize, d->mFx != Ifx_Read, d->guard);
    }
    default: return 0;
    }
}

static void count(IRSB *out, UInt some) {
    if (!some) return;
    IRExpr *before = assign(out, Ity_I64, IRExpr_Load(Iend_LE, Ity_I64, word((Addr)&accesses)));
    addStmtToIRSB(out, IRStmt_Store(Iend_LE, word((Addr)&accesses), binop(out, Iop_Add64, before, word(some))));
}

// What a register says when CPUID was asked for a leaf, less one bit.
static void clear(IRSB *out, Int offset, UInt bit, IRExpr *leaf, UInt of_leaf) {
    IRExpr *told = assign(out, Ity_I64, IRExpr_Get(offset, Ity_I64));
    IRExpr *others = assign(out, Ity_I1, IRExpr_Binop(Iop_CmpNE32, leaf, IRExpr_Const(IRConst_U32(of_leaf))));
    IRExpr *cleared = binop(out, Iop_And64, told, word(~(1ull << bit)));
    addStmtToIRSB(out, IRStmt_Put(offset, assign(out, Ity_I64, IRExpr_ITE(others, told, cleared))));
}

// VEX computes a fused multiply and add some hundred times slower than all else, so no program is told that the processor
// has it, nor AVX2, with which BLAS takes it for granted: libraries have code without them.
static void hide_fused(IRSB *out, IRStmt *cpuid) {
    enum { FUSED = 12, AVX2 = 5 };
    IRExpr *asked = assign(out, Ity_I64, IRExpr_Get(offsetof(VexGuestAMD64State, guest_RAX), Ity_I64));
    IRExpr *leaf = assign(out, Ity_I32, IRExpr_Unop(Iop_64to32, asked));
    addStmtToIRSB(out, cpuid);
    clear(out, offsetof(VexGuestAMD64State, guest_RCX), FUSED, leaf, 1);
    clear(out, offsetof(VexGuestAMD64State, guest_RBX), AVX2, leaf, 7);
}

static Bool is_cpuid(const IRStmt *s) {
    return s->tag == Ist_Dirty && VG_(strstr)(s->Ist.Dirty.details->cee->name, "CPUID");
}

static IRSB *instrument(VgCallbackClosure *closure, IRSB *in, const VexGuestLayout *layout,
                        const VexGuestExtents *extents, const VexArchInfo *info, IRType guest, IRType host) {
    IRSB *out = deepCopyIRSBExceptStmts(in);
    UInt pending = 0; // accesses not yet counted
    for (Int i = 0; i < in->stmts_used; i++) {
        pending += instrument_statement(out, in->stmts[i]);
        if (in->stmts[i]->tag == Ist_Exit) count(out, pending), pending = 0;
        is_cpuid(in->stmts[i]) ? hide_fused(out, in->stmts[i]) : addStmtToIRSB(out, in->stmts[i]);
    }
    count(out, pending);
    return out;
}

static void runs(ThreadId tid, ULong blocks) {
    if (blocks - forgotten < QUIET) return;
    forget();
    forgotten = blocks;
}

// ---- what the kernel touches in system calls that valgrind knows, and for signals

static void kernel_reads(CorePart part, ThreadId tid, const HChar *what, Addr a, SizeT size) {
    if (size && VG_(am_is_valid_for_client)(a, size, VKI_PROT_NONE)) touch_bytes(a, size, 0);
}

static void kernel_reads_text(CorePart part, ThreadId tid, const HChar *what, Addr a) {
    if (VG_(am_is_valid_for_client)(a, 1, VKI_PROT_READ)) touch_bytes(a, VG_(strlen)((HChar *)a) + 1, 0);
}

static void kernel_wrote(CorePart part, ThreadId tid, Addr a, SizeT size) {
    if (size && VG_(am_is_valid_for_client)(a, size, VKI_PROT_NONE)) touch_bytes(a, size, 1);
}

// ---- how much anonymous memory the kernel counts, asked where the program may have reached its most

static ULong number_in(const HChar *text, const HChar *key) {
    return VG_(strncmp)(text, key, VG_(strlen)(key)) ? 0 : VG_(strtoull10)(text + VG_(strlen)(key), NULL);
}

static Bool is_programs(const HChar *header) {
    const NSegment *s = VG_(am_find_nsegment)(VG_(strtoull16)(header, NULL));
    return s && s->kind & (SkAnonC | SkFileC | SkShmC);
}

static ULong count_line(const HChar *line, Bool *ours) {
    Bool is_header = (*line >= '0' && *line <= '9') || (*line >= 'a' && *line <= 'f'); // an address; fields are "Rss:"
    if (is_header) *ours = is_programs(line);
    return *ours ? number_in(line, "Anonymous:") + number_in(line, "Swap:") : 0;
}

static ULong kernel_count(void) {
    HChar buffer[4096], line[256];
    UInt length = 0;
    ULong kilobytes = 0;
    Bool ours = False;
    Int smaps = VG_(fd_open)("/proc/self/smaps", VKI_O_RDONLY, 0);
    if (smaps < 0) return 0;
    for (Int n; (n = VG_(read)(smaps, buffer, sizeof buffer)) > 0;)
        for (Int i = 0; i < n; i++) {
            if (buffer[i] != '\n' && length < sizeof line - 1) line[length++] = buffer[i];
            if (buffer[i] != '\n') continue;
            line[length] = 0;
            length = 0;
            kilobytes += count_line(line, &ours);
        }
    VG_(close)(smaps);
    return kilobytes / 4;
}

// A process has most memory just before some goes; not asked where it cannot be 2 % more than it was before.
static void may_shrink(void) {
    if (resident + fresh <= resident_most + resident_most / 64) return;
    resident = kernel_count(); // 0 if it may not be asked, after a change of user
    fresh = 0;
    if (resident <= resident_most) return;
    resident_most = resident;
    put_event(RESIDENT, resident);
}

// ---- files

static enum filesystem filesystem_of(Int file, const HChar *path) {
    ULong status[32] = {0}; // the kernel's struct statfs begins with the type
    file < 0 ? kernel(__NR_statfs, (UWord)path, (UWord)status, 0, 0, 0, 0)
             : kernel(__NR_fstatfs, file, (UWord)status, 0, 0, 0, 0);
    return status[0] == TMPFS_MAGIC ? SHMEM : OTHER;
}

static ULong number_of(const struct vg_stat *s, Int file, const HChar *path) {
    struct file *f = &files[hash(s->ino ^ s->dev << 32) % FILES];
    if (f->number && f->device == s->dev && f->inode == s->ino) return f->number;
    *f = (struct file){s->dev, s->ino, ++file_count};
    put_event(FILE, f->number);
    put_argument(s->dev);
    put_argument(s->ino);
    put_argument(s->size);
    put_argument(filesystem_of(file, path));
    put_text(path);
    return f->number;
}

// The number of an open file; 0 if it is no regular one.
static ULong number_of_open(Int file) {
    struct vg_stat s;
    HChar link[64], path[4096] = "?";
    if (VG_(fstat)(file, &s) || !VKI_S_ISREG(s.mode)) return 0;
    VG_(snprintf)(link, sizeof link, SELF_FD "%d", file);
    SSizeT length = VG_(readlink)(link, path, sizeof path - 1);
    path[length > 0 ? length : 1] = 0;
    return number_of(&s, file, path);
}

static void transferred(enum what what, Int file, Off64T from, Long bytes) {
    ULong n = bytes > 0 ? number_of_open(file) : 0;
    if (!n) return;
    if (from < 0) from = VG_(lseek)(file, 0, VKI_SEEK_CUR) - bytes;
    if (from < 0 || from >> 44) return; // another thread has moved or closed it; or beyond what traces number
    put_event(what, n);
    put_argument(from >> 12);
    put_argument(pages_of(from, bytes));
}

static void sent(UWord *args, Long bytes) { // sendfile: to, from, pointer to an offset that was moved on
    Off64T *end = (Off64T *)args[2];
    transferred(READ, args[1], end ? *end - bytes : -1, bytes);
    transferred(WRITE, args[0], -1, bytes);
}

static void copied(UWord *args, Long bytes) { // copy_file_range: from, pointer to an offset, to, the same
    Off64T *from = (Off64T *)args[1], *to = (Off64T *)args[3];
    transferred(READ, args[0], from ? *from - bytes : -1, bytes);
    transferred(WRITE, args[2], to ? *to - bytes : -1, bytes);
}

static void punched(Int file, Off64T from, ULong pages) {
    if (filesystem_of(file, "") != SHMEM) return;
    put_event(PUNCH, number_of_open(file));
    put_argument((from + 4095) >> 12);
    put_argument(pages);
}

static struct vg_stat unlinked; // of the system call that runs
static Bool unlinks_shmem;

static void will_unlink(Int at_directory, const HChar *path) {
    Bool told = (at_directory == VKI_AT_FDCWD || *path == '/') && !sr_isError(VG_(stat)(path, &unlinked));
    unlinks_shmem = told && unlinked.nlink == 1 && VKI_S_ISREG(unlinked.mode) && filesystem_of(-1, path) == SHMEM;
    if (unlinks_shmem) number_of(&unlinked, -1, path);
}

// ---- mappings

static void put_mapping(Addr a, SizeT size, enum backing backing, ULong file, Off64T from) {
    put_range(MAP, a, size);
    put_argument(backing);
    put_argument(file);
    put_argument(from >> 12);
}

static void mapped(Addr a, SizeT size, UWord flags, Int file, Off64T from) {
    Bool private = (flags & 0xf) == VKI_MAP_PRIVATE;
    ULong n = flags & VKI_MAP_ANONYMOUS ? 0 : number_of_open(file); // devices such as /dev/zero have none
    put_mapping(a, size, n ? private ? PRIVATE_FILE : SHARED_FILE : private ? ANONYMOUS : SHARED_ANONYMOUS, n, from);
}

static Bool is_used(Addr page) {
    for (const ULong *word = (const ULong *)page; word < (const ULong *)(page + 4096); word++)
        if (*word) return True;
    return False;
}

static void mapped_at_start(Addr a, SizeT size, Bool r, Bool w, Bool x, ULong debug) {
    struct vg_stat s;
    const NSegment *segment = VG_(am_find_nsegment)(a);
    const HChar *path = segment && segment->kind == SkFileC ? VG_(am_get_filename)(segment) : NULL;
    if (path && VG_(strstr)(path, "/pages-amd64-linux")) return; // what valgrind has of its own in the program
    if (path && !sr_isError(VG_(stat)(path, &s)))
        put_mapping(a, size, PRIVATE_FILE, number_of(&s, -1, path), segment->offset + (a - segment->start));
    else put_mapping(a, size, ANONYMOUS, 0, 0);
    const NSegment *below = VG_(am_find_nsegment)(a - 1); // where the stack will grow
    if (!below || below->kind != SkResvn || below->smode != SmUpper) return;
    put_mapping(below->start, below->end + 1 - below->start, ANONYMOUS, 0, 0);
    for (Addr page = a >> 12; page < (a + size) >> 12; page++) // arguments and environment, which execve writes
        if (is_used(page << 12)) touch(page, 1);
}

static SizeT attached(Addr a) { // size of a segment of System V
    const NSegment *segment = VG_(am_find_nsegment)(a);
    return segment ? segment->end + 1 - segment->start : 0;
}

static void heap_grew(Addr a, SizeT size, ThreadId tid) { put_mapping(a, size, ANONYMOUS, 0, 0); }

static void heap_shrank(Addr a, SizeT size) { // valgrind zeroes it, where the kernel would free it
    Addr first = (a + 4095) & ~4095ul, end = (a + size) & ~4095ul;
    if (first < end) kernel(__NR_madvise, first, end - first, MADV_DONTNEED, 0, 0, 0);
    put_range(UNMAP, first, end - first);
}

static void moved(UWord *args, Addr to) { // mremap: address, size, new size, flags
    put_range(MOVE, args[0], args[1]);
    put_argument(to >> 12);
    put_argument(pages_of(to, args[2]));
}

static void advised(Addr a, SizeT size, UWord advice) {
    enum { FREE = 8, REMOVE = 9, DONTNEED_LOCKED = 24 };
    if (advice != MADV_DONTNEED && advice != FREE && advice != REMOVE && advice != DONTNEED_LOCKED) return;
    put_range(DISCARD, a, size);
    put_argument(advice == REMOVE);
}

// ---- programs that are executed

static Bool changes_rights(const HChar *path, const struct vg_stat *s) {
    Bool user = s->mode & VKI_S_ISUID && s->uid != VG_(geteuid)();
    Bool group = s->mode & VKI_S_ISGID && s->mode & VKI_S_IXGRP && s->gid != VG_(getegid)();
    return user || group ||
           (VG_(geteuid)() && kernel(__NR_getxattr, (UWord)path, (UWord) "security.capability", 0, 0, 0, 0) > 0);
}

// A program that is setuid to who runs it anyway is recorded like any other.
Int __wrap_vgPlain_check_executable(Bool *is_setuid, const HChar *path, Bool allow_setuid) {
    struct vg_stat s;
    Bool harmless = !sr_isError(VG_(stat)(path, &s)) && !changes_rights(path, &s);
    return __real_vgPlain_check_executable(is_setuid, path, allow_setuid || harmless);
}

// What cannot be executed at all counts as followed: the kernel says so to the program.
static enum reason why_not(const HChar *path, UInt interpreters) {
    HChar head[256] = "";
    struct vg_stat s;
    if (sr_isError(VG_(stat)(path, &s)) || kernel(__NR_access, (UWord)path, 1, 0, 0, 0, 0)) return FOLLOWED;
    if (changes_rights(path, &s)) return SETUID;
    Int file = VG_(fd_open)(path, VKI_O_RDONLY, 0);
    if (file < 0) return UNREADABLE;
    VG_(read)(file, head, sizeof head - 1);
    VG_(close)(file);
    if (!VG_(memcmp)(head, "#!", 2) && interpreters < 4) {
        HChar *state, *interpreter = VG_(strtok_r)(head + 2, " \t\n", &state);
        return interpreter ? why_not(interpreter, interpreters + 1) : FOLLOWED;
    }
    Bool elf = !VG_(memcmp)(head, "\177ELF", 4), ours = head[4] == 2 && head[18] == 62; // 64 bits, x86-64
    return elf && !ours ? ARCHITECTURE : FOLLOWED;
}

static Bool valgrind_is_there(void) { // it is not behind every chroot
    return !kernel(__NR_access, (UWord)VG_(name_of_launcher), 1, 0, 0, 0, 0) &&
           !kernel(__NR_access, (UWord)SELF_FD, 1, 0, 0, 0, 0);
}

static void hand_on(void) {
    static HChar log_option[64], exe_option[4096 + 8];
    Int log = kernel(__NR_openat, directory, (UWord) "log", VKI_O_WRONLY | VKI_O_APPEND, 0, 0, 0);
    VG_(snprintf)(log_option, sizeof log_option, LOG_FD "%d", log);
    VG_(snprintf)(exe_option, sizeof exe_option, EXE "%s", program_path());
    *option_of_tool(LOG_FD) = log_option;
    *option_of_tool(EXE) = exe_option;
    kernel(__NR_fcntl, directory, VKI_F_SETFD, 0, 0, 0, 0);
}

static void take_back(void) {
    VG_(close)(log_descriptor());
    kernel(__NR_fcntl, directory, VKI_F_SETFD, VKI_FD_CLOEXEC, 0, 0, 0);
}

static void will_execute(const HChar *path) {
    if (!VG_(strcmp)(path, ITSELF)) path = program_path();
    enum reason reason = why_not(path, 0);
    if (!reason && !valgrind_is_there()) reason = NO_VALGRIND;
    if (reason) put_event(FOREIGN, reason), put_text(path);
    may_shrink();
    keep_sample();
    count_up();
    put_event(EXECUTE, 0);
    VG_(clo_trace_children) = reason == FOLLOWED;
    if (!reason) hand_on();
}

static void failed_to_execute(void) {
    if (VG_(clo_trace_children)) take_back();
    VG_(clo_trace_children) = True;
    put_event(EXECUTE, 1);
}

// ---- system calls

static SizeT detached; // size of what the shmdt that runs detaches

static const HChar *text_at(UWord a) {
    return VG_(am_is_valid_for_client)(a, 1, VKI_PROT_READ) ? (const HChar *)a : "";
}

static void syscall_starts(ThreadId tid, UInt call, UWord *args, UInt count) {
    switch (call) {
    case __NR_execve: will_execute(text_at(args[0])); break;
    case __NR_execveat: will_execute(text_at(args[1])); break;
    case __NR_fork: shares_memory = False; break;
    case __NR_vfork: shares_memory = True; break;
    case __NR_clone: shares_memory = (args[0] & VKI_CLONE_VM) != 0; break;
    case __NR_munmap: case __NR_mremap: case __NR_madvise: case __NR_brk: may_shrink(); break;
    case __NR_shmdt: detached = attached(args[0]); break;
    case __NR_unlink: will_unlink(VKI_AT_FDCWD, text_at(args[0])); break;
    case __NR_unlinkat: will_unlink(args[0], text_at(args[1])); break;
    }
}

static void waited(Long process, const Int *status) {
    Bool stopped = status && ((*status & 0xff) == 0x7f || *status == 0xffff); // or continued
    if (process > 0 && !stopped) put_event(WAITED, process);
}

static void waited_id(const Int *info, UWord options) { // si_code 1 to 3: it exited, or was killed
    if (info && info[2] >= 1 && info[2] <= 3 && !(options & WNOWAIT)) put_event(WAITED, info[4]);
}

static void memory_changed(UInt call, UWord *args, UWord result) {
    switch (call) {
    case __NR_mmap: mapped(result, args[1], args[3], args[4], args[5]); break;
    case __NR_munmap: put_range(UNMAP, args[0], args[1]); break;
    case __NR_mremap: moved(args, result); break;
    case __NR_madvise: advised(args[0], args[1], args[2]); break;
    case __NR_shmat: put_mapping(result, attached(result), SYSTEM_V, args[0], 0); break;
    case __NR_shmdt: put_range(UNMAP, args[0], detached); break;
    }
}

static void file_used(UInt call, UWord *args, Long result) {
    enum { PUNCH_HOLE = 2 };
    switch (call) {
    case __NR_read: case __NR_readv: transferred(READ, args[0], -1, result); break;
    case __NR_pread64: case __NR_preadv: transferred(READ, args[0], args[3], result); break;
    case __NR_write: case __NR_writev: transferred(WRITE, args[0], -1, result); break;
    case __NR_pwrite64: case __NR_pwritev: transferred(WRITE, args[0], args[3], result); break;
    case __NR_sendfile: sent(args, result); break;
    case __NR_copy_file_range: copied(args, result); break;
    case __NR_ftruncate: punched(args[0], args[1], 1ull << 40); break;
    case __NR_fallocate: if (args[1] & PUNCH_HOLE) punched(args[0], args[2], args[3] >> 12); break;
    case __NR_unlink: case __NR_unlinkat:
        if (unlinks_shmem) put_event(UNLINK, number_of(&unlinked, -1, "?"));
    }
}

static void syscall_ends(ThreadId tid, UInt call, UWord *args, UInt count, SysRes result) {
    if (call == __NR_execve || call == __NR_execveat) failed_to_execute();
    if (sr_isError(result)) return;
    if (call == __NR_wait4) waited(sr_Res(result), (const Int *)args[1]);
    if (call == __NR_waitid) waited_id((const Int *)args[2], args[3]);
    memory_changed(call, args, sr_Res(result));
    file_used(call, args, sr_Res(result));
}

static void fork_starts(ThreadId tid) { put_event(FORK, ++forks); }

static void fork_child(ThreadId tid) {
    close_files();
    told_accesses = accesses;
    recorded = file_count = resident_most = 0;
    VG_(memset)(at, 0, sizeof at);
    VG_(memset)(files, 0, sizeof files);
    for (Long i = 0; i < buckets; i++) candidates[i].moments = 0;
    forget();
    open_files();
}

// ---- start and end

static Bool option(const HChar *arg) {
    const HChar *itself;
    if VG_BINT_CLO(arg, "--window", window, 0, RING) {}
    else if VG_BINT_CLO(arg, "--samples", buckets, 0, 1 << 16) {}
    else if VG_STR_CLO(arg, "--exe", itself) {}
    else return False;
    return True;
}

static void usage(void) {
    VG_(printf)("    --window=N       leave out what repeats one of the last N recorded [64]\n"
                "    --samples=N      keep the contents of at most N pages [1024]\n"
                "    --exe=PATH       what /proc/self/exe is to the program\n");
}

static void debug_usage(void) {}

static void begins(void) {
    if (directory < 0 || !option_of_tool(LOG_FD) || !option_of_tool(EXE))
        VG_(fmsg_bad_option)("swaplab", "needs " LOG_FD "N, " EXE " and VALGRIND_LIB=" SELF_FD "N\n");
    VG_(close)(log_descriptor()); // the core has another
    Int file = open_here("counters", 0);
    if (file >= 0) show(counted_page, sizeof counted_page, VKI_MAP_SHARED, file, 0), VG_(close)(file);
    directory = VG_(safe_fd)(directory);
    open_files();
}

static void ends(Int status) {
    may_shrink();
    keep_sample();
    put_event(EXIT, status);
    count_up();
    if (fd >= 0) kernel(__NR_ftruncate, fd, offset + used * sizeof *words, 0, 0, 0, 0);
    close_files();
}

static void register_tool(void) {
    VG_(details_name)("pages");
    VG_(details_version)(NULL);
    VG_(details_description)("records which pages a program touches");
    VG_(details_copyright_author)("");
    VG_(details_bug_reports_to)("nobody");
    VG_(details_avg_translation_sizeB)(600);
    VG_(basic_tool_funcs)(begins, instrument, ends);
    VG_(needs_command_line_options)(option, usage, debug_usage);
    VG_(needs_syscall_wrapper)(syscall_starts, syscall_ends);
    VG_(track_pre_mem_read)(kernel_reads);
    VG_(track_pre_mem_read_asciiz)(kernel_reads_text);
    VG_(track_post_mem_write)(kernel_wrote);
    VG_(track_new_mem_startup)(mapped_at_start);
    VG_(track_new_mem_brk)(heap_grew);
    VG_(track_die_mem_brk)(heap_shrank);
    VG_(track_start_client_code)(runs);
    VG_(atfork)(fork_starts, NULL, fork_child);
}

VG_DETERMINE_INTERFACE_VERSION(register_tool)
