/* Preloaded: files take half of what is written to them at a time, and nothing more after FAIL_AFTER bytes in all. */
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static long written;

static ssize_t shortened(long call, int fd, const void *data, size_t size, off_t at)
{
	struct stat status;
	const char *limit = getenv("FAIL_AFTER");

	if (fstat(fd, &status) || !S_ISREG(status.st_mode) || size < 2)
		return syscall(call, fd, data, size, at);
	if (limit && written >= atol(limit)) {
		errno = EIO;
		return -1;
	}
	size = size / 2;
	written += size;
	return syscall(call, fd, data, size, at);
}

ssize_t write(int fd, const void *data, size_t size)
{
	return shortened(SYS_write, fd, data, size, 0);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off_t at)
{
	return shortened(SYS_pwrite64, fd, data, size, at);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at)
{
	return shortened(SYS_pwrite64, fd, data, size, at);
}
