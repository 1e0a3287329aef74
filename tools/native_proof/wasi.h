/* In WebAssembly the engine brings malloc and free, at the heap's beginning, where calloc of WASI's C library has its own
 * heap: what starts a program and the program itself take this one. */
#ifdef __wasm__
void *calloc(size_t count, size_t size) {
    void *memory = malloc(count * size);
    return memory ? memset(memory, 0, count * size) : NULL;
}
#endif
