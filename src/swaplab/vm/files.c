/*
 * The runner of scenarios with files: runner.c, which is as it was, with tasks that read pages of files.
 *
 * The script's `mount ext4 PATH` makes /dev/nullb2 the disk that /disk describes (src/swaplab/vm/ext4.py), mounts it and
 * opens its files. A file is called like the number of its task, and like what posix_fadvise is to say of it: 3.random.
 * Its pages begin with their numbers, from 1 on.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/mount.h>

#define DISK "/dev/nullb2"
#define TASKS 1000

struct task;

static void touch_any(const struct task *self, uint32_t access);
static int mount_any(const char *source, const char *path, const char *type, unsigned long flags, const void *data);

/* runner.c defines touch(), whose first parameter begins with `const`, and calls it in one place, with `self`. */
#define touch(first, second) TOUCH_##first, second)
#define TOUCH_const touch_memory(const
#define TOUCH_self touch_any(self
#define mount mount_any
#include "runner.c"
#undef mount

struct extent {
	uint32_t page, block, pages; /* of a file from a page on; of no pages: a block that follows */
};

static struct {
	int task, file;
} opened[TASKS];
static int nr_opened;

/* The file of a task, -1 if its memory is anonymous. */
static int file_of(const struct task *task)
{
	for (int i = 0; i < nr_opened; i++)
		if (opened[i].task == task - tasks)
			return opened[i].file;
	return -1;
}

static void touch_any(const struct task *self, uint32_t access)
{
	static uint64_t page[WORDS]; /* in this process, which is one task's, as is the file */
	static int is_known, file;
	uint32_t number = (access >> 1) - self->first;

	if (!is_known)
		file = file_of(self);
	is_known = 1;
	if (file < 0)
		touch_memory(self, access);
	else if (pread(file, page, PAGE, (off_t)number * PAGE) != PAGE || page[0] != number + 1)
		shared->wrong = (access >> 1) + 1;
}

static void write_block(int device, const void *data, uint64_t block)
{
	if (pwrite(device, data, PAGE, block * PAGE) != PAGE)
		fail("writing block %llu of %s: %s", (unsigned long long)block, DISK, strerror(errno));
}

static void make_disk(const char *path)
{
	static uint64_t data[WORDS] __attribute__((aligned(PAGE)));
	int device = wait_for(DISK, O_WRONLY | O_DIRECT);
	FILE *description = fopen(path, "r");
	struct extent extent;

	if (device < 0 || !description)
		fail("%s or %s: %s", DISK, path, strerror(errno));
	while (fread(&extent, sizeof(extent), 1, description)) {
		if (!extent.pages && fread(data, PAGE, 1, description)) {
			write_block(device, data, extent.block);
			continue;
		}
		memset(data, 0, PAGE);
		for (uint32_t i = 0; i < extent.pages; i++) {
			data[0] = extent.page + i + 1;
			write_block(device, data, extent.block + i);
		}
	}
	fclose(description);
	close(device);
}

static void open_file(int directory, const char *name)
{
	int file = openat(directory, name, O_RDONLY), advice = POSIX_FADV_NORMAL;

	if (strstr(name, ".random"))
		advice = POSIX_FADV_RANDOM;
	if (file < 0 || nr_opened == TASKS || posix_fadvise(file, 0, 0, advice))
		fail("opening %s: %s", name, strerror(errno));
	opened[nr_opened].task = atoi(name);
	opened[nr_opened++].file = file;
}

static void open_files(const char *path)
{
	DIR *directory = opendir(path);
	struct dirent *entry;

	if (!directory)
		fail("%s: %s", path, strerror(errno));
	while ((entry = readdir(directory)))
		if (entry->d_name[0] != '.')
			open_file(dirfd(directory), entry->d_name);
	closedir(directory);
}

static int mount_any(const char *source, const char *path, const char *type, unsigned long flags, const void *data)
{
	if (strcmp(type, "ext4"))
		return mount(source, path, type, flags, data);
	make_disk("/disk");
	if (mount(DISK, path, type, MS_RDONLY | MS_NOATIME, data))
		fail("mounting %s: %s", DISK, strerror(errno));
	open_files(path);
	return 0;
}
