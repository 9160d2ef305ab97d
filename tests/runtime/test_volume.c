/* SPDX-License-Identifier: Apache-2.0 */
/* Much and slowly through the library: every byte arrives, and this process does not grow. */
#include "tests/runtime/agent_box.h"

#include <malloc.h>

#define MUCH         "134217728"
#define MUCH_BYTES   (1u << 27)
#define MEMORY_BOUND (4u << 20) /* what one execution may cost its caller */

#ifdef __SANITIZE_ADDRESS__
size_t __sanitizer_get_current_allocated_bytes(void);
static size_t heap(void)
{
    return __sanitizer_get_current_allocated_bytes();
}
#else
static size_t heap(void)
{
    struct mallinfo2 m = mallinfo2();
    return m.uordblks + m.hblkhd;
}
#endif

static struct cubby_exec *pour(const char *out, const char *err, struct cubby_exec_options o)
{
    const char *argv[] = {self, "pour", out, err, NULL};
    return start_argv(argv, o);
}

static struct cubby_result result_of(struct cubby_exec *x)
{
    struct cubby_result r = {.size = sizeof(r)};
    struct cubby_error e;
    if (cubby_exec_wait(x, PATIENCE_MS, &r, &e) < 0)
        fail_msg("%s", e.message);
    cubby_exec_free(x);
    return r;
}

/* Reads up to `len` bytes of a stream, if there are some, and compares. */
static void take(struct cubby_exec *x, int stream, struct pour *p, size_t len)
{
    static uint8_t chunk[1u << 16];
    ssize_t n = cubby_exec_read(x, stream, chunk, len < sizeof(chunk) ? len : sizeof(chunk));
    if (n > 0 && !pour_matches(p, chunk, (size_t)n))
        fail_msg("stream %d differs before byte %llu", stream, (unsigned long long)p->at);
}

static void both_streams_at_once_arrive_unchanged(void **state)
{
    (void)state;
    static struct pour out, err;
    size_t before = heap();
    struct cubby_exec *x = pour(MUCH, MUCH, (struct cubby_exec_options){0});
    pour_init(&out, 1);
    pour_init(&err, 2);
    while (out.at < MUCH_BYTES || err.at < MUCH_BYTES) {
        int bits = cubby_exec_poll(x, CUBBY_CAN_READ_STDOUT | CUBBY_CAN_READ_STDERR, PATIENCE_MS);
        assert_true(bits & (CUBBY_CAN_READ_STDOUT | CUBBY_CAN_READ_STDERR));
        take(x, CUBBY_STDOUT, &out, SIZE_MAX);
        take(x, CUBBY_STDERR, &err, SIZE_MAX);
    }
    assert_true(heap() < before + MEMORY_BOUND);
    struct cubby_result r = result_of(x);
    assert_true(r.how == CUBBY_EXITED && r.exit_code == 0 && !r.leftover);
    assert_true(out.at == MUCH_BYTES && err.at == MUCH_BYTES);
}

static void who_never_reads_stdout_gets_all_of_stderr(void **state)
{
    (void)state;
    static struct pour err;
    size_t before = heap();
    struct cubby_exec *x = pour("1000000000000", MUCH, (struct cubby_exec_options){0});
    pour_init(&err, 2);
    while (err.at < MUCH_BYTES) {
        assert_true(cubby_exec_poll(x, CUBBY_CAN_READ_STDERR, PATIENCE_MS) & CUBBY_CAN_READ_STDERR);
        take(x, CUBBY_STDERR, &err, SIZE_MAX);
    }
    assert_true(heap() < before + MEMORY_BOUND);
    assert_int_equal(cubby_exec_kill(x), 0);
    assert_int_equal(result_of(x).exit_code, -SIGKILL);
}

static void who_reads_a_byte_a_second_gets_bytes_in_order(void **state)
{
    (void)state;
    static struct pour out, err;
    size_t before = heap();
    struct cubby_exec *x = pour(MUCH, MUCH, (struct cubby_exec_options){0});
    pour_init(&out, 1);
    pour_init(&err, 2);
    while (out.at < 3 || err.at < 3) {
        assert_true(cubby_exec_poll(x, CUBBY_CAN_READ_STDOUT, PATIENCE_MS) & CUBBY_CAN_READ_STDOUT);
        take(x, CUBBY_STDOUT, &out, 1);
        assert_true(cubby_exec_poll(x, CUBBY_CAN_READ_STDERR, PATIENCE_MS) & CUBBY_CAN_READ_STDERR);
        take(x, CUBBY_STDERR, &err, 1);
        sleep(1);
    }
    assert_true(heap() < before + MEMORY_BOUND);
    cubby_exec_free(x);
}

static void much_stdin_arrives_unchanged(void **state)
{
    (void)state;
    static struct pour p;
    const char *argv[] = {self, "drain", MUCH, NULL};
    size_t before = heap();
    struct cubby_exec *x = start_argv(argv, (struct cubby_exec_options){.flags = CUBBY_EXEC_STDIN});
    pour_init(&p, 3);
    while (p.at < MUCH_BYTES) {
        const uint8_t *piece;
        struct pour *again = &p;
        uint64_t at = p.at, left = MUCH_BYTES - at;
        size_t n = pour_next(again, &piece, left < POUR_BLOCK ? (size_t)left : POUR_BLOCK);
        assert_true(cubby_exec_poll(x, CUBBY_CAN_WRITE, PATIENCE_MS) & CUBBY_CAN_WRITE);
        ssize_t put = cubby_exec_write(x, piece, n);
        assert_true(put >= 0);
        p.at = at + (uint64_t)put;
    }
    assert_true(heap() < before + MEMORY_BOUND);
    assert_int_equal(cubby_exec_close_stdin(x), 0);
    assert_int_equal(result_of(x).exit_code, 0);
}

static void a_command_that_closes_stdin_early_raises_no_signal_here(void **state)
{
    (void)state;
    static const char zeros[65536];
    const char *argv[] = {"sh", "-c", "exec <&-; exec sleep 0.5", NULL};
    struct cubby_exec *x = start_argv(argv, (struct cubby_exec_options){.flags = CUBBY_EXEC_STDIN});
    ssize_t n = 0;
    while (n >= 0) {
        assert_true(cubby_exec_poll(x, CUBBY_CAN_WRITE, PATIENCE_MS) & CUBBY_CAN_WRITE);
        n = cubby_exec_write(x, zeros, sizeof(zeros));
    }
    assert_int_equal(n, CUBBY_ECLOSED);
    assert_int_equal(result_of(x).exit_code, 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(int argc, char **argv)
{
    int code = other_main(argc, argv);
    if (code >= 0)
        return code;
    const struct CMUnitTest tests[] = {
        TEST(both_streams_at_once_arrive_unchanged),
        TEST(who_never_reads_stdout_gets_all_of_stderr),
        TEST(who_reads_a_byte_a_second_gets_bytes_in_order),
        TEST(much_stdin_arrives_unchanged),
        TEST(a_command_that_closes_stdin_early_raises_no_signal_here),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
