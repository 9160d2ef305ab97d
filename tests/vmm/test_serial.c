/* SPDX-License-Identifier: Apache-2.0 */
/* The UART: what an early console writes comes out, and nothing that a guest does makes it wait. */
#include "vmm/serial.h"

#include <linux/serial_reg.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

struct fixture {
    struct serial s;
    int fds[2];
};

static int setup(void **state)
{
    static struct fixture f;
    if (pipe(f.fds))
        return -1;
    serial_init(&f.s, f.fds[1]);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    close(f->fds[0]);
    close(f->fds[1]);
    return 0;
}

static void out(struct fixture *f, uint64_t reg, uint8_t v)
{
    serial_ops.write(&f->s, reg, &v, 1);
}

static uint8_t in(struct fixture *f, uint64_t reg)
{
    uint8_t v = 0;
    serial_ops.read(&f->s, reg, &v, 1);
    return v;
}

static void expect_output(struct fixture *f, const char *text)
{
    char buf[512];
    close(f->fds[1]);
    f->fds[1] = -1;
    ssize_t n = read(f->fds[0], buf, sizeof(buf));
    assert_int_equal(n, strlen(text));
    assert_memory_equal(buf, text, strlen(text));
}

static void lines_come_out(void **state)
{
    struct fixture *f = *state;
    for (const char *p = "hello\nrest"; *p; p++)
        out(f, UART_TX, (uint8_t)*p);
    serial_fini(&f->s);
    expect_output(f, "hello\nrest");
}

static void a_line_without_end_comes_out_in_pieces(void **state)
{
    struct fixture *f = *state;
    char want[SERIAL_LINE * 3 + 1];
    memset(want, 'x', sizeof(want) - 1);
    want[sizeof(want) - 1] = '\0';
    for (size_t i = 0; i < sizeof(want) - 1; i++)
        out(f, UART_TX, 'x');
    serial_fini(&f->s);
    expect_output(f, want);
}

static void transmitter_is_always_empty(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(in(f, UART_LSR), 0x60);
    out(f, UART_TX, 'x');
    assert_int_equal(in(f, UART_LSR), 0x60);
    out(f, UART_LSR, 0);
    assert_int_equal(in(f, UART_LSR), 0x60);
    serial_fini(&f->s);
}

static void divisor_latch_is_not_output(void **state)
{
    struct fixture *f = *state;
    out(f, UART_LCR, UART_LCR_DLAB | 3);
    out(f, UART_DLL, 0x34);
    out(f, UART_DLM, 0x12);
    assert_int_equal(in(f, UART_DLL), 0x34);
    assert_int_equal(in(f, UART_DLM), 0x12);
    out(f, UART_LCR, 3);
    assert_int_equal(in(f, UART_RX), 0);
    out(f, UART_TX, 'a');
    serial_fini(&f->s);
    expect_output(f, "a");
}

static void registers_keep_what_a_driver_tests(void **state)
{
    struct fixture *f = *state;
    out(f, UART_SCR, 0xa5);
    assert_int_equal(in(f, UART_SCR), 0xa5);
    out(f, UART_IER, 0xff);
    assert_int_equal(in(f, UART_IER), 0x0f);
    out(f, UART_MCR, 0xff);
    assert_int_equal(in(f, UART_MCR), 0x1f);
    assert_int_equal(in(f, UART_IIR), UART_IIR_NO_INT);
    out(f, UART_TX, 'x'); /* looped back: not output */
    serial_fini(&f->s);
    expect_output(f, "");
}

static void wide_accesses_do_nothing(void **state)
{
    struct fixture *f = *state;
    uint32_t v = 0x41414141;
    serial_ops.write(&f->s, UART_TX, &v, 4);
    serial_ops.read(&f->s, UART_LSR, &v, 2);
    assert_int_equal(v, 0x4141ffff);
    serial_fini(&f->s);
    expect_output(f, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(lines_come_out, setup, teardown),
        cmocka_unit_test_setup_teardown(a_line_without_end_comes_out_in_pieces, setup, teardown),
        cmocka_unit_test_setup_teardown(transmitter_is_always_empty, setup, teardown),
        cmocka_unit_test_setup_teardown(divisor_latch_is_not_output, setup, teardown),
        cmocka_unit_test_setup_teardown(registers_keep_what_a_driver_tests, setup, teardown),
        cmocka_unit_test_setup_teardown(wide_accesses_do_nothing, setup, teardown),
    };
    return cmocka_run_group_tests_name("serial", tests, NULL, NULL);
}
