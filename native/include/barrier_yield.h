/* Forced into ggml-cpu's C files by CMakeLists.txt (-include).
 *
 * Between two nodes of a graph ggml's threads wait for each other in a loop that never gives the core away. Where the system runs two of them
 * on one core (two cores and one busy neighbour are enough, for spinning threads look equally busy to a load balancer), each wait lasts as
 * long as a time slice: one token took a second instead of some milliseconds. So the loop's pause yields every now and then. On a core that nobody
 * else wants that costs a system call of half a microsecond in several microseconds of waiting.
 *
 * ggml_thread_cpu_relax is a static function of ggml-cpu.c, called with (), defined with (void): the macro tells the two apart. */
#if !defined(_WIN32) && (defined(__GNUC__) || defined(__clang__))
#include <sched.h>

enum { RN_PAUSES_A_YIELD = 64 };

static inline void rn_relax(void) {
    static __thread unsigned pauses;
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield" ::: "memory");
#endif
    if (++pauses % RN_PAUSES_A_YIELD == 0) {
        sched_yield();
    }
}

#define RN_RELAX_OF_void ggml_unused_relax(void)
#define RN_RELAX_OF_ rn_relax()
#define ggml_thread_cpu_relax(...) RN_RELAX_OF_##__VA_ARGS__
#endif
