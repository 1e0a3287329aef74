/* All sets of kernels that this kind of processor may run; which of them it can is asked when a model is opened. */
#include "kernels.h"

#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#define UNROLL_TWICE _Pragma("clang loop unroll_count(2)")
#else
#define UNROLL _Pragma("GCC unroll 64")
#define UNROLL_TWICE _Pragma("GCC unroll 2")
#pragma GCC diagnostic ignored "-Wpsabi" /* vectors are arguments of functions that are inlined alone */
#pragma GCC push_options
#pragma GCC optimize("fp-contract=fast") /* what -ffp-contract=on means to clang */
#endif
#define NOINLINE __attribute__((noinline))

/* A value that begins as a copy is a copy at once, and not anew each time a loop goes round. */
#if defined(__aarch64__)
#define OWN_REGISTER(value) __asm__("" : "+w"(value))
#elif defined(__x86_64__)
#define OWN_REGISTER(value) __asm__("" : "+v"(value))
#else
#define OWN_REGISTER(value) ((void)0)
#endif

#include "processor.h"

#include "path_portable.h"

#include "algorithm.h"

#include "path_end.h"

#if defined(__x86_64__)
#include <immintrin.h>

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#endif
#include "path_avx2.h"

#include "algorithm.h"

#include "path_end.h"
#if defined(__clang__)
#pragma clang attribute pop
#pragma clang attribute push(__attribute__((target("avx2,fma,avxvnni"))), apply_to = function)
#else
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("avx2,fma,avxvnni")
#endif
#include "path_avxvnni.h"

#include "algorithm.h"

#include "path_end.h"
#if defined(__clang__)
#pragma clang attribute pop
#pragma clang attribute push(__attribute__((target("avx2,fma,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni"))), apply_to = function)
#else
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("avx2,fma,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")
#endif
#include "path_avx512vnni.h"

#include "algorithm.h"

#include "path_end.h"
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

#elif defined(__aarch64__)
#include <arm_neon.h>

#include "path_neon.h"

#include "algorithm.h"

#include "path_end.h"
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("+dotprod+fp16"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("+dotprod+fp16")
#endif
#include "path_dotprod.h"

#include "algorithm.h"

#include "path_end.h"
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

#elif defined(__wasm_simd128__)
#include <wasm_simd128.h>

#include "path_simd128.h"

#include "algorithm.h"

#include "path_end.h"
#endif

const Kernels *const ecvx_all_kernels[] = {
#if defined(__x86_64__)
    &kernels_avx512vnni, &kernels_avxvnni, &kernels_avx2,
#elif defined(__aarch64__)
    &kernels_dotprod,    &kernels_neon,
#elif defined(__wasm_simd128__)
    &kernels_simd128,
#endif
    &kernels_portable,   NULL,
};
#if !defined(__clang__)
#pragma GCC pop_options
#endif
