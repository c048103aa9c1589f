/*
 * The only program in the guest: process 1, and what it forks.
 *
 * It obeys /script, whose lines are a command and its arguments, separated by tabs:
 *
 *   module PATH             load a kernel module
 *   write PATH TEXT         write to a file
 *   try PATH TEXT           the same; it may be missing (ENOENT) or make no progress (EAGAIN)
 *   set PATH TEXT KEY       the same; where it is missing, the kernel lacks what the scenario's KEY asks for
 *   mkdir PATH, rmdir PATH
 *   mount TYPE PATH         a file system of the kernel's own
 *   sleep MICROSECONDS
 *   fill DEVICE BYTES       write all over a device, so that it takes no memory later, and make it one to swap to
 *   occupy                  take what memory the other node has left
 *   watermarks KILOBYTES    set vm.min_free_kbytes, for the first node's memory
 *   swapon DEVICE
 *   contents                map /samples, /kinds and /components: what pages hold
 *   trace PATH              where the accesses come from: uint32 each, page << 1 | write; and between them the
 *                           operations: uint32 OPERATION | which, page, pages, other page
 *   flusher PATH            the cgroup of the process that has statistics flushed
 *   tasks COUNT             how many tasks there are; the next lines say what they are
 *   process FIRST COUNT PATH     a process that has these pages, in the cgroup PATH
 *   memory FIRST COUNT      shared memory that has these pages
 *   start TASK              start a process; else it starts when it is forked or first does something
 *   move TASK PATH          to another cgroup
 *   exit TASK               kill it
 *   settle BYTES            take memory away until so much is free
 *   watch PATH              make a file part of every sample
 *   access COUNT            make the next accesses, in the tasks' processes, with the operations before each
 *   sample                  report the files that are watched
 *   check                   read everything back, and report a checksum for each task
 *   done
 *
 * What goes out, through an I/O port that takes each byte at once, is lines of JSON. A failure is reported and ends the
 * machine. Nothing that the machine answers comes from the host: neither how soon nor what.
 *
 * There are two nodes of memory. The first is the scenario's machine. The other has what stands for its disk, so that no
 * zone of the first is wider than it would be; it is full before anything is measured.
 *
 * What measures must not be measured. All memory of this program is locked, and charged to the root cgroup: a
 * task's process locks what it has inherited, which also copies it, before it moves into its cgroup, and maps
 * its pages after that. There they are all that it touches; how it is told what to do, eventfd, allocates nothing.
 * A process that a task forks stays in its parent's cgroup, which pays for what a fork takes, as Linux has it; of the
 * memory of this program it writes to some pages of its stack.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/mempolicy.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/io.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096
#define PORT 0xe9 /* QEMU's isa-debugcon */
#define STACK_GIGABYTE ((void *)((uintptr_t)__builtin_frame_address(0) >> 30 << 30))
#define STACK_PAGE ((uintptr_t)__builtin_frame_address(0) / PAGE * PAGE)
#define WORDS (PAGE / 8)
#define CHUNK 65536
#define ARGUMENTS 4
#define UNTOUCHED UINT32_MAX
#define OPERATION 0x80000000u
/* Where tasks are mapped that have no room in the gigabyte of the stack; nothing else is there. */
#define FAR ((void *)(1ull << 44))
#define FILES (1 << 18)
#define FILE_MAX (1 << 16)
/* mm/memcontrol.c, 6.12: statistics are flushed by who reads them once more than 64 updates on each CPU are pending,
 * which are handed on 64 at a time. A child's kernel stack of four pages is eight updates, with its end. */
#define CHILDREN 17
/* Reclaim goes by the lengths of lists as they were at the last flush (mm/vmscan.c:inactive_is_low, 6.12), which the
 * kernel leaves to a timer of two seconds. The guest's seconds are not the scenario's, and how often samples are taken
 * must not matter; so after so many accesses somebody reads the statistics. */
#define FRESH 256
#define SPARE (64 * PAGE)
#define FILLED (1 << 20) /* bytes of a write, to fill a device */
#define STATISTICS "/sys/fs/cgroup/memory.stat"

struct component {
	uint32_t first, count; /* of its samples */
};

/* What a process does in its turn. The operations are those of src/swaplab/scenario/trace/layout.py: EventKind. */
enum what { ACCESS, UNMAP, DISCARD, EXIT, FORK, SHARE, REMOVE, CHECK };

struct operation {
	uint32_t what, page, pages, other;
};

/* A page is backed by itself, or by one of shared memory. That holds the sample of a source in some version: it was
 * written there, or forked. */
struct page {
	uint32_t offset; /* of its address from its process's base, in pages */
	uint32_t backing;
	uint32_t source, version;
};

/* What all processes share. */
struct shared {
	struct operation turn;
	uint32_t begin, end;	 /* of the turn's accesses, in the buffer */
	pid_t child;		 /* that the turn forked */
	volatile uint32_t done;	 /* up to here they are made, or pages are checked */
	volatile uint32_t wrong; /* 1 more than a page that did not hold what it should */
	uint64_t sum;		 /* of a task's contents */
	uint32_t buffer[CHUNK] __attribute__((aligned(PAGE)));
};

struct task {
	pid_t pid; /* 0: not started, or gone */
	int is_gone;
	int pidfd, go, ready;
	int file; /* of shared memory, else -1 */
	uint32_t first, count;
	uint8_t *base;
	uint64_t span; /* pages mapped from there on */
	struct task *parent;
	char *cgroup; /* for the runner alone */
};

static struct shared *shared;
static struct page *pages;
static const uint16_t *kinds; /* component of each page */
static const uint64_t (*samples)[WORDS];
static const struct component *components;
static struct task *tasks;
static int nr_tasks;
static struct task flusher;
static char **watched;
static int nr_watched;
static int trace;
static uint64_t position; /* accesses made before this turn */
static uint64_t trace_at, in_buffer, started;
static char text[FILE_MAX];

/* Reports ----------------------------------------------------------------------------------------------------------- */

static FILE *out;

static void __attribute__((noreturn)) end_machine(void)
{
	if (out)
		fflush(out);
	sync();
	reboot(RB_AUTOBOOT);
	for (;;)
		pause();
}

static void put_text(const char *from, size_t length)
{
	fputc('"', out);
	for (size_t i = 0; i < length; i++) {
		unsigned char byte = from[i];

		if (byte == '"' || byte == '\\')
			fputc('\\', out);
		if (byte == '\n')
			fputs("\\n", out);
		else if (byte < ' ')
			fputc(' ', out);
		else
			fputc(byte, out);
	}
	fputc('"', out);
}

static void __attribute__((noreturn, format(printf, 1, 2))) fail(const char *format, ...)
{
	char message[512];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(message, sizeof(message), format, arguments);
	va_end(arguments);
	fprintf(stderr, "runner: %s\n", message);
	if (out) {
		fputs("{\"error\": ", out);
		put_text(message, strlen(message));
		fputs("}\n", out);
	}
	end_machine();
}

static void end_line(void)
{
	fputs("}\n", out);
	if (fflush(out))
		fail("the port does not take reports: %s", strerror(errno));
}

static uint64_t now_ns(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000000000ull + time.tv_nsec;
}

static void report_progress(void)
{
	fprintf(out, "{\"progress\": %llu", (unsigned long long)(position + shared->done - shared->begin));
	end_line();
}

/* Files ------------------------------------------------------------------------------------------------------------- */

/* Returns the length of a file's contents in `text`, -1 if it is not there. */
static ssize_t read_file(const char *path)
{
	ssize_t length = 0, got;
	int file = open(path, O_RDONLY | O_CLOEXEC);

	if (file < 0)
		return -1;
	while ((got = read(file, text + length, FILE_MAX - 1 - length)) > 0)
		length += got;
	close(file);
	text[length] = 0;
	return got < 0 ? -1 : length;
}

static int write_file(const char *path, const char *value)
{
	int file = open(path, O_WRONLY | O_CLOEXEC), error = 0;

	if (file < 0)
		return errno;
	if (write(file, value, strlen(value)) < 0)
		error = errno;
	close(file);
	return error;
}

static void must_write(const char *path, const char *value)
{
	int error = write_file(path, value);

	if (error)
		fail("writing %s to %s: %s", value, path, strerror(error));
}

static void load_module(const char *path)
{
	int file = open(path, O_RDONLY | O_CLOEXEC);

	if (file < 0 || (syscall(SYS_finit_module, file, "", 0) && errno != EEXIST))
		fail("loading %s: %s", path, strerror(errno));
	close(file);
}

static const void *map_file(const char *path)
{
	struct stat status;
	int file = open(path, O_RDONLY | O_CLOEXEC);
	const void *mapped;

	if (file < 0 || fstat(file, &status))
		fail("%s: %s", path, strerror(errno));
	mapped = mmap(NULL, status.st_size, PROT_READ, MAP_SHARED | MAP_POPULATE, file, 0);
	if (mapped == MAP_FAILED)
		fail("mapping %s: %s", path, strerror(errno));
	close(file);
	return mapped;
}

static void *map_shared(size_t bytes)
{
	void *mapped = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	if (mapped == MAP_FAILED || mlock(mapped, bytes))
		fail("no memory for %zu bytes of the runner's own", bytes);
	return mapped;
}

static uint8_t *map_pages(void *where, uint64_t count)
{
	const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE;

	return mmap(where, count * PAGE, PROT_READ | PROT_WRITE, flags, -1, 0);
}

/*
 * From where a page table begins, in the gigabyte of the stack if there is room: how many tables it takes, and is charged
 * for, is then a matter of its size alone.
 */
static void map_task(struct task *task)
{
	task->base = map_pages(STACK_GIGABYTE, task->count);
	if (task->base == MAP_FAILED)
		task->base = map_pages(FAR, task->count);
	if (task->base == MAP_FAILED)
		_exit(2);
	task->span = task->count;
}

static int wait_for(const char *path, int flags)
{
	int file;

	for (int tries = 0; (file = open(path, flags | O_CLOEXEC)) < 0 && tries < 500; tries++)
		usleep(10000);
	return file;
}

/* What pages hold --------------------------------------------------------------------------------------------------- */

/* src/swaplab/scenario/content.py: sample_hash */
static uint32_t sample_hash(uint32_t page, uint32_t version)
{
	uint32_t mixed = 0x1E3779B9, numbers[] = {page, version};

	for (int i = 0; i < 2; i++) {
		mixed += numbers[i];
		mixed = (mixed ^ mixed >> 16) * 0x7FEB352D;
		mixed = (mixed ^ mixed >> 15) * 0x2C1B3C6D;
		mixed ^= mixed >> 16;
	}
	return mixed;
}

static const uint64_t *sample_of(uint32_t page, uint32_t version, uint32_t *word)
{
	const struct component *component = &components[kinds[page]];
	uint32_t hash = sample_hash(page, version);

	*word = hash >> 16 & (WORDS - 1);
	return samples[component->first + hash % component->count];
}

/* A page that was never touched is filled, whether it is read or written: zswap is to see what the content says. */
static void touch(const struct task *task, uint32_t access)
{
	struct page *page = &pages[pages[access >> 1].backing];
	uint64_t *address = (uint64_t *)(task->base + (uint64_t)pages[access >> 1].offset * PAGE);
	uint32_t write = access & 1, word;
	const uint64_t *sample;

	if (page->version == UNTOUCHED || write) {
		page->version = page->version == UNTOUCHED ? write : page->version + 1;
		page->source = page - pages;
		memcpy(address, sample_of(page->source, page->version, &word), PAGE);
		return;
	}
	sample = sample_of(page->source, page->version, &word);
	if (((volatile uint64_t *)address)[word] != sample[word])
		shared->wrong = (access >> 1) + 1;
}

/* src/swaplab/vm/contents.py: checksums */
static uint64_t checksum(const uint64_t *address, uint32_t page)
{
	uint64_t hash = 0xcbf29ce484222325ull;

	for (int i = 0; i < WORDS; i++)
		hash = (hash ^ address[i]) * 0x100000001b3ull;
	return hash * (2ull * page + 1);
}

/* Processes --------------------------------------------------------------------------------------------------------- */

static void signal_event(int event)
{
	uint64_t one = 1;

	if (write(event, &one, sizeof(one)) != sizeof(one))
		fail("eventfd: %s", strerror(errno));
}

static void await_event(int event)
{
	uint64_t value;

	if (read(event, &value, sizeof(value)) != sizeof(value))
		_exit(1);
}

static void make_accesses_of(const struct task *self)
{
	for (uint32_t i = shared->begin; i < shared->end; i++) {
		touch(self, shared->buffer[i]);
		shared->done = i + 1;
	}
}

static void check_pages(const struct task *self)
{
	shared->sum = 0;
	for (uint32_t i = 0; i < self->count; i++) {
		const struct page *page = &pages[self->first + i];

		if (page->version != UNTOUCHED)
			shared->sum += checksum((uint64_t *)(self->base + (uint64_t)page->offset * PAGE), self->first + i);
		shared->done = i + 1;
	}
}

static int change_range(uint8_t *address, size_t bytes, int file, off_t offset)
{
	const int protection = PROT_READ | PROT_WRITE;

	if (shared->turn.what == DISCARD)
		return madvise(address, bytes, MADV_DONTNEED);
	if (munmap(address, bytes))
		return -1;
	if (shared->turn.what == SHARE)
		return mmap(address, bytes, protection, MAP_SHARED | MAP_FIXED, file, offset) == MAP_FAILED;
	return map_pages(address, bytes / PAGE) == MAP_FAILED;
}

/* Unmaps, discards or maps a range, each part of it that is contiguous: after a fork some of it may be elsewhere. */
static void change_mappings(const struct task *self, const struct task *object)
{
	const struct operation *turn = &shared->turn;
	uint32_t done = 0, length;

	for (; done < turn->pages; done += length) {
		const struct page *page = &pages[turn->page + done];
		off_t offset = object ? (off_t)(turn->other + done - object->first) * PAGE : 0;

		for (length = 1; done + length < turn->pages && page[length].offset == page->offset + length;)
			length++;
		if (change_range(self->base + (uint64_t)page->offset * PAGE, (size_t)length * PAGE, object ? object->file : -1,
				 offset))
			_exit(3);
	}
}

static struct task *owner_of(uint32_t page)
{
	int low = 0, high = nr_tasks - 1;

	while (low < high) {
		int middle = (low + high + 1) / 2;

		if (tasks[middle].first <= page)
			low = middle;
		else
			high = middle - 1;
	}
	return &tasks[low];
}

/* A fork that has the runner as its parent, and the files in common, so that their table is not copied and charged. */
static pid_t fork_beside(void)
{
	return syscall(SYS_clone, CLONE_PARENT | CLONE_FILES | CLONE_FS | SIGCHLD, NULL, NULL, NULL, 0);
}

static void serve(struct task *self) __attribute__((noreturn));

static void fork_child(void)
{
	struct task *child = owner_of(shared->turn.page), *parent = child->parent;
	pid_t pid = fork_beside();

	if (pid < 0)
		_exit(4);
	if (pid) {
		shared->child = pid;
		return;
	}
	/* Its stack is no longer locked, nor its own. What it does not inherit is behind what it does. */
	if (mlock((char *)STACK_PAGE - PAGE, 2 * PAGE))
		_exit(1);
	if (map_pages(parent->base + parent->span * PAGE, child->count) == MAP_FAILED)
		_exit(5);
	signal_event(child->ready);
	serve(child);
}

static void serve(struct task *self)
{
	for (;;) {
		await_event(self->go);
		switch (shared->turn.what) {
		case ACCESS:
			make_accesses_of(self);
			break;
		case CHECK:
			check_pages(self);
			break;
		case FORK:
			fork_child();
			break;
		case SHARE:
			change_mappings(self, owner_of(shared->turn.other));
			break;
		default:
			change_mappings(self, NULL);
		}
		signal_event(self->ready);
	}
}

static void __attribute__((noinline)) run_child(void)
{
	pid_t child = vfork();

	if (!child)
		_exit(0);
	if (child < 0 || waitpid(child, NULL, 0) != child)
		_exit(1);
}

static void __attribute__((noreturn)) serve_flusher(const struct task *self)
{
	for (;;) {
		await_event(self->go);
		for (int i = 0; i < CHILDREN; i++)
			run_child();
		signal_event(self->ready);
	}
}

static void join(pid_t pid, const char *cgroup)
{
	char path[PATH_MAX], number[16];

	snprintf(path, sizeof(path), "%s/cgroup.procs", cgroup);
	snprintf(number, sizeof(number), "%d", pid);
	must_write(path, number);
}

/* Lets a process do its turn: 0 if it died instead. While it works, whoever listens hears how far it is. */
static int wait_ready(struct task *task)
{
	struct pollfd polled[] = {{task->ready, POLLIN, 0}, {task->pidfd, POLLIN, 0}};
	int found;

	while ((found = poll(polled, 2, 1000)) <= 0) {
		if (found < 0 && errno != EINTR)
			fail("poll: %s", strerror(errno));
		report_progress();
	}
	if (polled[0].revents & POLLIN) {
		await_event(task->ready);
		return 1;
	}
	return 0;
}

static int give_turn(struct task *task)
{
	signal_event(task->go);
	return wait_ready(task);
}

static void bury(struct task *task)
{
	int status;

	if (waitpid(task->pid, &status, 0) != task->pid)
		fail("waitpid: %s", strerror(errno));
	if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
		fail("a task's process ended with status %d", status);
	close(task->pidfd);
	task->pid = 0;
	task->is_gone = 1;
}

/* The kernel kills a process that runs out of memory. */
static void report_killed(struct task *task)
{
	bury(task);
	fprintf(out, "{\"killed\": %d, \"access\": %llu", (int)(task - tasks),
		(unsigned long long)(position + shared->done - shared->begin));
	end_line();
}

static void prepare(struct task *task)
{
	task->go = eventfd(0, EFD_CLOEXEC);
	task->ready = eventfd(0, EFD_CLOEXEC);
	if (task->ready < 0)
		fail("eventfd: %s", strerror(errno));
}

/* Waits until a process serves its task, and moves it where it belongs. */
static void welcome(struct task *task)
{
	task->pidfd = syscall(SYS_pidfd_open, task->pid, 0);
	if (task->pidfd < 0)
		fail("pidfd_open: %s", strerror(errno));
	if (!wait_ready(task))
		fail("a task's process does not start");
	join(task->pid, task->cgroup);
}

static void start(struct task *task)
{
	int is_flusher = task == &flusher;
	pid_t pid = fork(); /* tasks are shared: only the parent writes there */

	if (pid < 0)
		fail("fork: %s", strerror(errno));
	if (!pid) {
		/* The kernel's choice of whom to kill is between the tasks. */
		if (mlockall(MCL_CURRENT) || (!is_flusher && write_file("/proc/self/oom_score_adj", "0")))
			_exit(1);
		if (task->count)
			map_task(task);
		signal_event(task->ready);
		if (is_flusher)
			serve_flusher(task);
		serve(task);
	}
	task->pid = pid;
	welcome(task);
}

static int is_there(struct task *task)
{
	if (!task->pid && !task->is_gone)
		start(task);
	return task->pid != 0;
}

static struct task *find_task(const char *number)
{
	int i = atoi(number);

	if (i < 0 || i >= nr_tasks)
		fail("no task %s", number);
	return &tasks[i];
}

static void kill_task(struct task *task)
{
	if (task->pid) {
		kill(task->pid, SIGKILL);
		bury(task);
	}
	task->is_gone = 1;
}

static void move_task(struct task *task, const char *cgroup)
{
	free(task->cgroup);
	task->cgroup = strdup(cgroup);
	if (task->pid)
		join(task->pid, cgroup);
}

/* Operations -------------------------------------------------------------------------------------------------------- */

static void forget(uint32_t first, uint32_t count, int is_unmapped)
{
	for (uint32_t i = first; i < first + count; i++) {
		pages[i].version = UNTOUCHED;
		if (is_unmapped)
			pages[i].backing = i;
	}
}

/* The first range that a child inherits is when it is forked. What is unmapped in its parent is so in it. */
static void inherit(struct task *child, struct task *parent)
{
	const struct operation *turn = &shared->turn;

	if (!child->pid && !child->is_gone && is_there(parent)) {
		child->parent = parent;
		child->base = parent->base;
		child->span = parent->span + child->count;
		for (uint32_t i = 0; i < child->count; i++)
			pages[child->first + i].offset = parent->span + i;
		if (!give_turn(parent)) {
			report_killed(parent);
			return;
		}
		child->pid = shared->child;
		welcome(child);
	}
	if (child->parent != parent)
		return;
	for (uint32_t i = 0; i < turn->pages; i++) {
		struct page *page = &pages[turn->page + i];

		*page = pages[turn->other + i];
		if (page->backing == turn->other + i)
			page->backing = turn->page + i;
	}
}

static void map_shared_memory(uint32_t first, uint32_t count, uint32_t backing)
{
	forget(first, count, 1);
	for (uint32_t i = 0; i < count; i++)
		pages[first + i].backing = backing + i;
}

static void remove_pages(const struct task *object, uint32_t first, uint32_t count)
{
	const int punch = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;

	if (fallocate(object->file, punch, (off_t)(first - object->first) * PAGE, (off_t)count * PAGE))
		fail("fallocate: %s", strerror(errno));
	forget(first, count, 0);
}

static void forget_private(uint32_t first, uint32_t count)
{
	for (uint32_t i = first; i < first + count; i++)
		if (pages[i].backing == i)
			pages[i].version = UNTOUCHED;
}

static void operate(void)
{
	const struct operation *turn = &shared->turn;
	struct task *task = owner_of(turn->page);

	shared->begin = shared->done = 0;
	if (turn->what == REMOVE)
		remove_pages(task, turn->page, turn->pages);
	else if (turn->what == EXIT)
		kill_task(task);
	else if (turn->what == FORK)
		inherit(task, owner_of(turn->other));
	else if (is_there(task) && !give_turn(task))
		report_killed(task);
	if (turn->what == UNMAP || turn->what == EXIT)
		forget(turn->page, turn->pages, 1);
	if (turn->what == DISCARD)
		forget_private(turn->page, turn->pages);
	if (turn->what == SHARE)
		map_shared_memory(turn->page, turn->pages, turn->other);
}

/* Accesses ---------------------------------------------------------------------------------------------------------- */

static void fill_buffer(void)
{
	/* From the root file system, which is in memory. */
	ssize_t got = pread(trace, shared->buffer, sizeof(shared->buffer), trace_at);

	if (got <= 0)
		fail("reading the accesses: %s", got ? strerror(errno) : "too few");
	trace_at += got;
	in_buffer = got / sizeof(uint32_t);
	shared->begin = shared->end = shared->done = 0;
}

static uint32_t next_word(void)
{
	if (shared->end >= in_buffer)
		fill_buffer();
	return shared->buffer[shared->end++];
}

/* Does the operations that come before the next access. */
static void make_operations(void)
{
	uint32_t word;

	while ((word = next_word()) & OPERATION) {
		shared->turn = (struct operation){word & ~OPERATION, next_word(), 0, 0};
		shared->turn.pages = next_word();
		shared->turn.other = next_word();
		operate();
	}
	shared->end--;
}

/* Makes accesses of one task, at most `most` and up to the next one's turn; returns how many. */
static uint32_t take_turn(uint64_t most)
{
	uint32_t begin = shared->end, end = begin;
	struct task *task = owner_of(shared->buffer[begin] >> 1);

	while (end < in_buffer && end - begin < most && (shared->buffer[end] >> 1) - task->first < task->count)
		end++;
	shared->turn.what = ACCESS;
	shared->begin = shared->done = begin;
	shared->end = end;
	if (is_there(task) && !give_turn(task))
		report_killed(task);
	if (shared->wrong)
		fail("page %u does not hold what was written to it", shared->wrong - 1);
	shared->begin = shared->done = end;
	return end - begin;
}

static void make_accesses(uint64_t count)
{
	static uint64_t reported;

	while (count) {
		uint64_t left = FRESH - position % FRESH;
		uint32_t made;

		make_operations();
		made = take_turn(count < left ? count : left);
		if (made == left)
			read_file(STATISTICS);
		position += made;
		count -= made;
		if (now_ns() - reported > 500000000) {
			report_progress();
			reported = now_ns();
		}
	}
}

/* What shared memory holds, which nobody need have mapped any longer. */
static uint64_t checksum_of_memory(const struct task *object)
{
	static uint64_t words[WORDS];
	uint64_t sum = 0;

	for (uint32_t i = 0; i < object->count; i++) {
		if (pages[object->first + i].version == UNTOUCHED)
			continue;
		if (pread(object->file, words, PAGE, (off_t)i * PAGE) != PAGE)
			fail("reading shared memory: %s", strerror(errno));
		sum += checksum(words, object->first + i);
	}
	return sum;
}

/* Reads every page back: what the kernel kept is compared by the host, which knows what was written. */
static void check_contents(void)
{
	shared->turn.what = CHECK;
	for (int i = 0; i < nr_tasks; i++) {
		struct task *task = &tasks[i];

		shared->begin = shared->done = 0;
		if (task->file >= 0) {
			shared->sum = checksum_of_memory(task);
		} else if (!task->pid) {
			continue;
		} else if (!give_turn(task)) {
			bury(task);
			continue;
		}
		fprintf(out, "{\"contents\": %d, \"sum\": %llu", i, (unsigned long long)shared->sum);
		end_line();
	}
}

/* Measuring --------------------------------------------------------------------------------------------------------- */

static uint64_t meminfo(const char *key)
{
	char *line;

	if (read_file("/proc/meminfo") < 0 || !(line = strstr(text, key)))
		fail("/proc/meminfo has no %s", key);
	return strtoull(line + strlen(key), NULL, 10) * 1024;
}

/* Sums a number over the zones of a node. */
static uint64_t zones(int node, const char *key)
{
	uint64_t sum = 0;
	char *line = text, *other;

	if (read_file("/proc/zoneinfo") < 0 || !(other = strstr(text, "Node 1,")))
		fail("/proc/zoneinfo has no second node: the kernel needs CONFIG_NUMA and CONFIG_ACPI_NUMA");
	if (node)
		line = other;
	else
		*other = 0;
	while ((line = strstr(line, key))) {
		line += strlen(key);
		sum += strtoull(line, NULL, 10);
	}
	return sum;
}

/* Free memory, with what the processor has taken from the zones for its next allocations. */
static uint64_t free_memory(int node)
{
	return (zones(node, " free ") + zones(node, " count:")) * PAGE;
}

static void *take_away(size_t bytes)
{
	void *taken = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	/* Else a process that is forked would lock, and so copy it. */
	if (taken == MAP_FAILED || madvise(taken, bytes, MADV_DONTFORK) || mlock(taken, bytes))
		fail("no memory to take away: %s", strerror(errno));
	return taken;
}

static void allocate_from(int policy, const unsigned long *nodes)
{
	if (syscall(SYS_set_mempolicy, policy, nodes, CHAR_BIT * sizeof(*nodes)))
		fail("set_mempolicy: %s", strerror(errno));
}

static void write_watermarks(uint64_t kilobytes)
{
	char number[32];

	snprintf(number, sizeof(number), "%llu", (unsigned long long)kilobytes);
	must_write("/proc/sys/vm/min_free_kbytes", number);
}

/* The kernel shares out what is to be kept free by how large zones are (mm/page_alloc.c:__setup_per_zone_wmarks). */
static void set_watermarks(uint64_t kilobytes)
{
	uint64_t own = zones(0, " managed ");

	write_watermarks(kilobytes * (own + zones(1, " managed ")) / own);
}

/*
 * Takes a node's memory, up to where the kernel would look for some elsewhere; that is less than the watermarks will be.
 * Returns how much, and where.
 */
static size_t occupy(int node, void **taken)
{
	const unsigned long nodes = 1ul << node;
	size_t bytes;

	write_watermarks(SPARE / 1024);
	bytes = zones(node, " free ") * PAGE; /* not what the processor has taken from there: that is as good as used */
	bytes = bytes > 3 * SPARE ? (bytes - 2 * SPARE) / PAGE * 511 / 512 * PAGE : PAGE;
	allocate_from(MPOL_PREFERRED, &nodes); /* what is too much comes from the other */
	*taken = take_away(bytes);
	allocate_from(MPOL_DEFAULT, NULL);
	return bytes;
}

/*
 * null_blk takes memory for a page when that is first written, in Linux 6.1 in a worker, which no policy is for: so it is
 * from the other node, since the first has none left meanwhile. The header is include/linux/swap.h:union swap_header.
 */
static void fill_device(const char *path, uint64_t bytes)
{
	const uint32_t header[] = {1, bytes / PAGE - 1, 0};
	int device = wait_for(path, O_WRONLY | O_DIRECT);
	char *chunk = mmap(NULL, FILLED, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	void *taken;
	size_t length_taken = occupy(0, &taken);

	if (device < 0 || chunk == MAP_FAILED)
		fail("%s: %s", path, strerror(errno));
	for (uint64_t at = 0, length; at < bytes; at += length) {
		length = bytes - at < FILLED ? bytes - at : FILLED;
		if (pwrite(device, chunk, length, at) != (ssize_t)length)
			fail("filling %s: %s", path, strerror(errno));
	}
	memcpy(chunk + 1024, header, sizeof(header));
	memcpy(chunk + PAGE - 10, "SWAPSPACE2", 10);
	if (pwrite(device, chunk, PAGE, 0) != PAGE)
		fail("writing the header of %s: %s", path, strerror(errno));
	munmap(chunk, FILLED);
	munmap(taken, length_taken);
	close(device);
}

/* Takes memory away until `wanted` bytes are free, if there are as many. */
static void settle(uint64_t wanted)
{
	uint64_t found, free;

	/* What processes that were forked share with this one it would copy at its next write. */
	if (mlockall(MCL_CURRENT | MCL_FUTURE))
		fail("mlockall: %s", strerror(errno));
	found = free = free_memory(0);
	for (int i = 0; i < 8 && free > wanted + 16 * PAGE; i++) {
		/* Its page tables take some more. */
		take_away((free - wanted) / PAGE * 511 / 512 * PAGE);
		free = free_memory(0);
	}
	started = now_ns();
	fprintf(out, "{\"settled\": %llu, \"found\": %llu, \"total\": %llu", (unsigned long long)free,
		(unsigned long long)found, (unsigned long long)meminfo("MemTotal:"));
	end_line();
}

static void flush_statistics(void)
{
	if (!give_turn(&flusher))
		fail("the process that has statistics flushed died");
	read_file(STATISTICS);
}

static void sample(void)
{
	flush_statistics();
	fprintf(out, "{\"sample\": %llu, \"ns\": %llu, \"files\": [", (unsigned long long)position,
		(unsigned long long)(now_ns() - started));
	for (int i = 0; i < nr_watched; i++) {
		ssize_t length = read_file(watched[i]);

		if (i)
			fputs(", ", out);
		if (length < 0)
			fputs("null", out);
		else
			put_text(text, length);
	}
	fputs("]", out);
	end_line();
}

/* The script -------------------------------------------------------------------------------------------------------- */

static void map_page_table(uint32_t count)
{
	pages = map_shared(count * sizeof(*pages));
	for (uint32_t i = 0; i < count; i++)
		pages[i] = (struct page){.backing = i, .version = UNTOUCHED};
}

static void map_contents(void)
{
	struct stat status;

	samples = map_file("/samples");
	kinds = map_file("/kinds");
	components = map_file("/components");
	if (stat("/kinds", &status))
		fail("/kinds: %s", strerror(errno));
	shared = map_shared(sizeof(*shared));
	map_page_table(status.st_size / sizeof(*kinds));
	if (mlockall(MCL_CURRENT | MCL_FUTURE))
		fail("mlockall: %s", strerror(errno));
}

/* All are known before one starts, so that each process has the files of all. */
static void make_room_for_tasks(const char *count)
{
	const struct rlimit files = {FILES, FILES};

	if (setrlimit(RLIMIT_NOFILE, &files))
		fail("setrlimit: %s", strerror(errno));
	tasks = map_shared((atoi(count) + 1) * sizeof(*tasks));
}

static struct task *add_task(char **arguments)
{
	struct task *task = &tasks[nr_tasks++];

	*task = (struct task){.first = strtoul(arguments[1], NULL, 10), .count = strtoul(arguments[2], NULL, 10)};
	task->cgroup = strdup(arguments[3]);
	task->file = -1;
	for (uint32_t i = 0; i < task->count; i++)
		pages[task->first + i].offset = i;
	return task;
}

static void add_memory(char **arguments)
{
	struct task *task = add_task(arguments);

	task->file = memfd_create("shared", MFD_CLOEXEC);
	if (task->file < 0 || ftruncate(task->file, (off_t)task->count * PAGE))
		fail("memfd_create: %s", strerror(errno));
}

static void start_flusher(const char *cgroup)
{
	flusher.cgroup = strdup(cgroup);
	prepare(&flusher);
	start(&flusher);
}

static void add_watched(const char *path)
{
	watched = realloc(watched, (nr_watched + 1) * sizeof(*watched));
	watched[nr_watched++] = strdup(path);
}

static void enable_swap(const char *device)
{
	close(wait_for(device, O_RDONLY));
	if (swapon(device, 0))
		fail("swapon %s: %s", device, strerror(errno));
}

static ssize_t write_port(void *cookie, const char *from, size_t length)
{
	(void)cookie;
	outsb(PORT, from, length);
	return length;
}

static void open_port(void)
{
	if (ioperm(PORT, 1, 1))
		fail("ioperm: %s", strerror(errno));
	out = fopencookie(NULL, "w", (cookie_io_functions_t){.write = write_port});
	setvbuf(out, NULL, _IOFBF, FILE_MAX);
	fputs("{\"hello\": ", out);
	put_text(text, read_file("/proc/version"));
	end_line();
}

static void open_trace(const char *path)
{
	trace = open(path, O_RDONLY | O_CLOEXEC);
	if (trace < 0)
		fail("%s: %s", path, strerror(errno));
}

static void mount_one(const char *type, const char *path)
{
	if (mount(type, path, type, 0, NULL) && errno != EBUSY)
		fail("mounting %s on %s: %s", type, path, strerror(errno));
}

static void try_write(const char *path, const char *value)
{
	int error = write_file(path, value);

	if (error && error != ENOENT && error != EAGAIN)
		fail("writing %s to %s: %s", value, path, strerror(error));
}

static void set(const char *path, const char *value, const char *key)
{
	if (access(path, F_OK)) {
		fputs("{\"lacks\": ", out);
		put_text(path, strlen(path));
		fputs(", \"key\": ", out);
		put_text(key, strlen(key));
		end_line();
		end_machine();
	}
	must_write(path, value);
}

static int obey_setup(char **arguments)
{
	const char *command = arguments[0];

	if (!strcmp(command, "module"))
		load_module(arguments[1]);
	else if (!strcmp(command, "port"))
		open_port();
	else if (!strcmp(command, "contents"))
		map_contents();
	else if (!strcmp(command, "trace"))
		open_trace(arguments[1]);
	else if (!strcmp(command, "mount"))
		mount_one(arguments[1], arguments[2]);
	else if (!strcmp(command, "fill"))
		fill_device(arguments[1], strtoull(arguments[2], NULL, 10));
	else if (!strcmp(command, "occupy"))
		occupy(1, &(void *){NULL});
	else if (!strcmp(command, "watermarks"))
		set_watermarks(strtoull(arguments[1], NULL, 10));
	else if (!strcmp(command, "swapon"))
		enable_swap(arguments[1]);
	else if (!strcmp(command, "tasks"))
		make_room_for_tasks(arguments[1]);
	else if (!strcmp(command, "process"))
		prepare(add_task(arguments));
	else if (!strcmp(command, "memory"))
		add_memory(arguments);
	else if (!strcmp(command, "flusher"))
		start_flusher(arguments[1]);
	else if (!strcmp(command, "watch"))
		add_watched(arguments[1]);
	else if (!strcmp(command, "settle"))
		settle(strtoull(arguments[1], NULL, 10));
	else
		return 0;
	return 1;
}

static void obey(char **arguments)
{
	const char *command = arguments[0];

	if (!strcmp(command, "access"))
		make_accesses(strtoull(arguments[1], NULL, 10));
	else if (!strcmp(command, "sample"))
		sample();
	else if (!strcmp(command, "write"))
		must_write(arguments[1], arguments[2]);
	else if (!strcmp(command, "try"))
		try_write(arguments[1], arguments[2]);
	else if (!strcmp(command, "set"))
		set(arguments[1], arguments[2], arguments[3]);
	else if (!strcmp(command, "mkdir") && mkdir(arguments[1], 0755))
		fail("mkdir %s: %s", arguments[1], strerror(errno));
	else if (!strcmp(command, "rmdir") && rmdir(arguments[1]))
		fail("rmdir %s: %s", arguments[1], strerror(errno));
	else if (!strcmp(command, "sleep"))
		usleep(atoi(arguments[1]));
	else if (!strcmp(command, "exit"))
		kill_task(find_task(arguments[1]));
	else if (!strcmp(command, "move"))
		move_task(find_task(arguments[1]), arguments[2]);
	else if (!strcmp(command, "start"))
		is_there(find_task(arguments[1]));
	else if (!strcmp(command, "check"))
		check_contents();
}

static void mount_all(void)
{
	static const char *const mounts[][2] = {
		{"proc", "/proc"},
		{"sysfs", "/sys"},
		{"devtmpfs", "/dev"},
		{"cgroup2", "/sys/fs/cgroup"},
		{"debugfs", "/sys/kernel/debug"},
	};

	for (size_t i = 0; i < sizeof(mounts) / sizeof(mounts[0]); i++)
		mount_one(mounts[i][0], mounts[i][1]);
}

int main(void)
{
	static char line[2 * PATH_MAX];
	FILE *script;

	mount_all();
	must_write("/proc/self/oom_score_adj", "-1000");
	script = fopen("/script", "r");
	if (!script)
		fail("/script: %s", strerror(errno));
	while (fgets(line, sizeof(line), script)) {
		char *arguments[ARGUMENTS] = {"", "", "", ""};
		char *rest = line;

		line[strcspn(line, "\n")] = 0;
		for (int i = 0; i < ARGUMENTS && rest; i++)
			arguments[i] = strsep(&rest, "\t");
		if (!obey_setup(arguments))
			obey(arguments);
	}
	fputs("{\"done\": true", out);
	end_line();
	end_machine();
}
