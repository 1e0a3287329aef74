"""A small engine with what the real one has: threads, libc, a file included twice; where freestanding, no system."""

from __future__ import annotations

from pathlib import Path

import pytest

SMALL = {
    "edgecvx.h": """
        /* Use: #include "edgecvx.h" */
        #ifndef EDGECVX_H
        #define EDGECVX_H
        #include <stdint.h>
        #ifndef ECVX_API
        #define ECVX_API
        #endif
        ECVX_API int32_t ecvx_version(void);
        ECVX_API double ecvx_answer(int32_t n);
        #endif
        """,
    "platform.h": """
        #ifndef PLATFORM_H
        #define PLATFORM_H
        #include <stddef.h>
        #include <stdint.h>
        #ifdef ECVX_FREESTANDING
        void *memset(void *to, int byte, size_t size);
        static double power(double x, double y) { return y > 1 ? x * x : x; }
        static void wait_for(void *(*job)(void *), void *with) { job(with); }
        #else
        #include <math.h>
        #include <stdlib.h>
        #include <string.h>
        #define power pow
        #ifdef _WIN32
        #include <windows.h>
        static void wait_for(void *(*job)(void *), void *with) { job(with); Sleep(0); }
        #else
        #include <pthread.h>
        static void wait_for(void *(*job)(void *), void *with) {
            pthread_t thread;
            if (pthread_create(&thread, NULL, job, with) == 0) pthread_join(thread, NULL);
        }
        #endif
        #endif
        #endif
        """,
    "squares.h": """
        static REAL NAME(const REAL *x, int32_t n) {
            REAL sum = 0;
            for (int32_t i = 0; i < n; i++) sum += x[i] * x[i];
            return sum;
        }
        #undef NAME
        #undef REAL
        """,
    "sums.c": """
        #include "platform.h"
        #define NAME squares_f
        #define REAL float
        #include "squares.h"
        #define NAME squares_d
        #define REAL double
        #include "squares.h" /* once more */
        """,
    "engine.c": """
        #include "edgecvx.h"
        #include "platform.h"
        struct job { double y, result; };
        static void *work(void *with) {
            struct job *job = with;
            job->result = power(2.0, job->y);
            return NULL;
        }
        ECVX_API int32_t ecvx_version(void) { return 1; }
        ECVX_API double ecvx_answer(int32_t n) {
            float few[64];
            double some[3] = {1.0, 2.0, 3.0};
            struct job job = {2.0, 0.0};
            memset(few, 0, sizeof few);
            for (int32_t i = 0; i < n && i < 64; i++) few[i] = 1.0f;
            wait_for(work, &job);
            return (double)squares_f(few, 64) + squares_d(some, 3) + job.result;
        }
        """,
    "all.c": """
        #include "sums.c"
        #include "engine.c"
        """,
}


def write(folder: Path, files: dict[str, str]) -> Path:
    """Sources in a folder, their lines from the first column on."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        lines = [line.removeprefix(" " * 8) for line in text.strip("\n").splitlines()]
        (folder / name).write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")
    return folder


@pytest.fixture
def engine(tmp_path: Path) -> Path:
    """The folder of a small engine, whose ``ecvx_answer(n)`` is n + 18."""
    return write(tmp_path / "engine", SMALL)


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's cache in which nothing was kept yet."""
    monkeypatch.setenv("EDGECVX_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"
