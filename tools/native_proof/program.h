/* What a program takes of the C library. */
#if __STDC_HOSTED__
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#else /* compiled for no processor in particular, which the library's headers do not know */
#include <stddef.h>
typedef struct stream FILE;
extern FILE *stdin, *stdout, *stderr;
size_t fread(void *to, size_t size, size_t count, FILE *from);
size_t fwrite(const void *from, size_t size, size_t count, FILE *to);
int printf(const char *format, ...);
int fprintf(FILE *to, const char *format, ...);
_Noreturn void exit(int code);
_Noreturn void abort(void);
void *memmove(void *to, const void *from, size_t size);
#endif

/* In WebAssembly the engine brings malloc and free, at the heap's beginning, where calloc of WASI's C library has its own
 * heap: what starts a program and the program itself take this one. */
#ifdef __wasm__
void *calloc(size_t count, size_t size) {
    void *memory = malloc(count * size);
    return memory ? memset(memory, 0, count * size) : NULL;
}
#endif
