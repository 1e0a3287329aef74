/* What the processor has, and the system saves. */
#ifndef ECVX_PROCESSOR_H
#define ECVX_PROCESSOR_H

#if defined(__x86_64__)
#include <cpuid.h>

enum { X86_AVX2, X86_AVXVNNI, X86_AVX512VNNI };

static unsigned saved_registers(void) {
    unsigned low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

static int ecvx_x86_has(int what) {
    unsigned a, b, c, d, b7, c7, d7, a71 = 0;
    const unsigned fma = 1u << 12, osxsave = 1u << 27, avx = 1u << 28, avx2 = 1u << 5;
    if (!__get_cpuid(1, &a, &b, &c, &d) || (c & (fma | osxsave | avx)) != (fma | osxsave | avx)) return 0;
    if (!__get_cpuid_count(7, 0, &a, &b7, &c7, &d7) || !(b7 & avx2) || (saved_registers() & 6) != 6) return 0;
    if (what == X86_AVX2) return 1;
    if (what == X86_AVXVNNI) return a >= 1 && __get_cpuid_count(7, 1, &a71, &b, &c, &d) && (a71 >> 4 & 1);
    const unsigned f_dq_bw_vl = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31;
    return (b7 & f_dq_bw_vl) == f_dq_bw_vl && (c7 >> 11 & 1) && (saved_registers() & 0xe6) == 0xe6;
}

#elif defined(__aarch64__)
#if defined(__APPLE__) && !defined(ECVX_FREESTANDING)
#include <sys/sysctl.h>
static int has(const char *what) {
    int found = 0;
    size_t size = sizeof found;
    return !sysctlbyname(what, &found, &size, NULL, 0) && found;
}
static int ecvx_arm_has_dotprod(void) { return has("hw.optional.arm.FEAT_DotProd"); }
#elif defined(__linux__) && !defined(ECVX_FREESTANDING)
#include <sys/auxv.h>
static int ecvx_arm_has_dotprod(void) {
    const unsigned long dotprod = 1ul << 20; /* HWCAP_ASIMDDP */
    return (getauxval(AT_HWCAP) & dotprod) != 0;
}
#else
static int ecvx_arm_has_dotprod(void) { /* what it was built for */
#if defined(__ARM_FEATURE_DOTPROD)
    return 1;
#else
    return 0;
#endif
}
#endif
#endif

#endif
