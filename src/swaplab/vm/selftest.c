/* Linked into the kernel's own test, which flushes what it printed only at its end; its children print it once more. */
#include <stdio.h>

__attribute__((constructor)) static void print_by_lines(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
}
