/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-console with real pipes, files, sockets and terminals: sinks that stall, fail and end, input with
 * and without buffers, and the control queues. "case_N" in a name is the number in the project's list of
 * hostile-guest cases (docs/threat-model.md).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/own.h"
#include "tests/virtio/driver.h"
#include "virtio/console.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_console.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <termios.h>

#include "tests/virtio/faults.h"

#define BIT64(n)  (UINT64_C(1) << (n))
#define SIZE      BIT64(VIRTIO_CONSOLE_F_SIZE)
#define MULTIPORT BIT64(VIRTIO_CONSOLE_F_MULTIPORT)
#define QUEUE     64
#define NEVER_MS  (60 * 60 * 1000) /* a stall that does not end within a test */

enum { RX0, TX0, CTRL_RX, CTRL_TX, RX1, TX1, RX2, TX2 };

struct rig {
    struct drv g;
    struct console_config cfg;
    struct vdev *dev;
    int in[2], out[2];   /* pipes of port 0: the console has in[0] and out[1] */
    int in1[2], out1[2]; /* of port 1 */
};

static int set_up(void **state)
{
    struct rig *r = calloc(1, sizeof(*r));
    if (!r)
        return -1;
    drv_open(&r->g);
    int *pipes[] = {r->in, r->out, r->in1, r->out1};
    for (size_t i = 0; i < ARRAY_LEN(pipes); i++)
        if (pipe2(pipes[i], O_CLOEXEC) < 0)
            return -1;
    /* The test's own ends do not block. */
    fd_set_nonblock(r->out[0], 1);
    fd_set_nonblock(r->out1[0], 1);
    r->cfg = (struct console_config){.nports = 1,
                                     .stall_ms = NEVER_MS,
                                     .port = {{r->in[0], r->out[1], NULL}, {-1, -1, NULL}, {-1, -1, NULL}}};
    *state = r;
    return 0;
}

static void close_pair(int fd[2])
{
    fd_closep(&fd[0]);
    fd_closep(&fd[1]);
}

static int tear_down(void **state)
{
    struct rig *r = *state;
    /* Nobody reads any more: the console need not wait for its sinks. */
    close_pair(r->out);
    close_pair(r->out1);
    if (r->dev) {
        drv_close(&r->g);
    } else {
        loop_destroy(r->g.loop);
        close(r->g.irq_fd);
        free(r->g.ram);
        free(r->g.high);
    }
    close_pair(r->in);
    close_pair(r->in1);
    free(r);
    return 0;
}

static void start(struct rig *r, uint64_t features)
{
    struct err e = {0};
    if (console_create(&r->dev, &r->cfg, &r->g.mem, r->g.loop, &e) < 0)
        fail_msg("%s", e.text);
    drv_attach(&r->g, r->dev);
    drv_start(&r->g, features, QUEUE);
    drv_spin(&r->g);
}

/* Like start(), with port 1 under the name "chan". */
static void start_two_ports(struct rig *r)
{
    r->cfg.nports = 2;
    r->cfg.port[1] = (struct console_port_config){r->in1[0], r->out1[1], "chan"};
    start(r, MULTIPORT);
}

static bool put(struct rig *r, unsigned q, const void *data, uint32_t len)
{
    struct drv_buf b = drv_out(&r->g, data, len);
    drv_add(&r->g.q[q], &b, 1);
    drv_kick(&r->g, q);
    drv_spin(&r->g);
    return drv_used(&r->g.q[q], NULL, NULL);
}

static size_t get(int fd, char *buf, size_t cap)
{
    size_t len = 0;
    ssize_t n;
    while (len < cap && (n = read(fd, buf + len, cap - len)) > 0)
        len += (size_t)n;
    return len;
}

static void expect_bytes(int fd, const char *want)
{
    char buf[256];
    size_t len = get(fd, buf, sizeof(buf));
    assert_int_equal(len, strlen(want));
    assert_memory_equal(buf, want, len);
}

/*
 * How often the loop wakes up within a while although nothing happens: a busy loop would count thousands. The
 * end of the while is an event of the same loop, so the count does not depend on how fast the machine is.
 */
static bool while_over;
static void end_while(struct loop_timer *t)
{
    (void)t;
    while_over = true;
}
static bool loop_sleeps(struct rig *r)
{
    struct loop_timer t = {0};
    int wakes = 0;
    drv_spin(&r->g);
    while_over = false;
    assert_int_equal(loop_timer_arm(r->g.loop, &t, 20 * NSEC_PER_MSEC, end_while), 0);
    for (; !while_over; wakes++)
        assert_int_equal(loop_once(r->g.loop, -1), 0);
    return wakes <= 5;
}

/* A control message of the guest's. */
static void tell(struct rig *r, uint32_t id, uint16_t event, uint16_t value)
{
    struct virtio_console_control c = {.id = id, .event = event, .value = value};
    assert_true(put(r, CTRL_TX, &c, sizeof(c)));
}

/* --- Output --- */

static void output_reaches_the_sink(void **state)
{
    struct rig *r = *state;
    start(r, 0);
    assert_true(put(r, TX0, "hello, ", 7));
    assert_true(put(r, TX0, "world\n", 6));
    expect_bytes(r->out[0], "hello, world\n");
}

static void chains_of_many_pieces_are_one_stream_case_32(void **state)
{
    struct rig *r = *state;
    start(r, 0);
    struct drv_buf b[] = {drv_out(&r->g, "a", 1), drv_out(&r->g, "", 0), drv_out(&r->g, "bcd", 3),
                          drv_out(&r->g, "ef", 2), drv_in(&r->g, 100)};
    uint32_t len;
    drv_add(&r->g.q[TX0], b, 5);
    drv_kick(&r->g, TX0);
    drv_spin(&r->g);
    assert_true(drv_used(&r->g.q[TX0], NULL, &len));
    assert_int_equal(len, 0); /* what could be written was not (case 14) */
    expect_bytes(r->out[0], "abcdef");
    /* Nothing at all is fine, too. */
    assert_true(put(r, TX0, "", 0));
}

static void a_write_of_hundreds_of_megabytes_takes_turns_and_no_memory_case_32(void **state)
{
    struct rig *r = *state;
    r->cfg.port[0].out_fd = -1;
    start(r, 0);
    struct drv_buf b[QUEUE];
    for (int i = 0; i < QUEUE; i++)
        b[i] = (struct drv_buf){.gpa = DRV_RAM_GPA, .len = DRV_RAM_SIZE};
    drv_add(&r->g.q[TX0], b, QUEUE);
    drv_kick(&r->g, TX0);
    assert_int_equal(loop_once(r->g.loop, 0), 0);
    assert_int_equal(drv_used_idx(&r->g.q[TX0]), 0);   /* a turn is bounded (case 24) … */
    drv_until(&r->g, drv_used_idx(&r->g.q[TX0]) == 1); /* … and there is always another */
}

static void files_take_output_at_once(void **state)
{
    struct rig *r = *state;
    FILE *file = tmpfile();
    assert_non_null(file);
    r->cfg.port[0].out_fd = fileno(file);
    start(r, 0);
    assert_int_equal(write(fileno(file), "first ", 6), 6);
    assert_true(put(r, TX0, "second", 6));
    assert_int_equal(lseek(fileno(file), 0, SEEK_CUR), 12); /* one open file, one position */
    assert_int_equal(lseek(fileno(file), 0, SEEK_SET), 0);
    expect_bytes(fileno(file), "first second");
    fclose(file);
}

static void sockets_take_output_and_give_input(void **state)
{
    struct rig *r = *state;
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    r->cfg.port[0] = (struct console_port_config){.in_fd = pair[1], .out_fd = pair[1]};
    start(r, 0);
    assert_true(put(r, TX0, "out", 3));
    struct drv_buf b = drv_in(&r->g, 16);
    drv_add(&r->g.q[RX0], &b, 1);
    drv_kick(&r->g, RX0);
    drv_spin(&r->g);
    assert_int_equal(write(pair[0], "in", 2), 2);
    drv_spin(&r->g);
    uint32_t len;
    assert_true(drv_used(&r->g.q[RX0], NULL, &len));
    assert_int_equal(len, 2);
    fd_set_nonblock(pair[0], 1);
    expect_bytes(pair[0], "out");
    fd_closep(&pair[0]);
    assert_true(put(r, TX0, "gone", 4));
    assert_true(loop_sleeps(r));
    fd_closep(&pair[1]);
}

static void the_callers_descriptors_stay_blocking(void **state)
{
    struct rig *r = *state;
    start(r, 0);
    assert_false(fcntl(r->out[1], F_GETFL) & O_NONBLOCK);
    assert_false(fcntl(r->in[0], F_GETFL) & O_NONBLOCK);
}

static void a_terminal_is_opened_anew(void **state)
{
    struct rig *r = *state;
    int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
    assert_true(master >= 0);
    assert_int_equal(grantpt(master), 0);
    assert_int_equal(unlockpt(master), 0);
    int tty = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_true(tty >= 0);
    struct termios raw;
    tcgetattr(tty, &raw);
    cfmakeraw(&raw);
    tcsetattr(tty, TCSANOW, &raw);
    r->cfg.port[0] = (struct console_port_config){.in_fd = tty, .out_fd = tty};
    start(r, 0);
    assert_false(fcntl(tty, F_GETFL) & O_NONBLOCK);
    struct drv_buf b = drv_in(&r->g, 16);
    drv_add(&r->g.q[RX0], &b, 1);
    drv_kick(&r->g, RX0);
    assert_true(put(r, TX0, "prompt", 6));
    expect_bytes(master, "prompt");
    assert_int_equal(write(master, "typed", 5), 5);
    drv_until(&r->g, drv_used_idx(&r->g.q[RX0]) == 1);
    assert_memory_equal(drv_ptr(&r->g, b.gpa), "typed", 5);
    /* A hang-up ends both directions, and spins nowhere. */
    close(master);
    assert_true(put(r, TX0, "nobody", 6));
    assert_true(loop_sleeps(r));
    close(tty);
}

/* --- Sinks that stall, fail, end --- */

static void fill_pattern(char *buf, size_t len, uint64_t from)
{
    for (size_t i = 0; i < len; i++)
        buf[i] = (char)((from + i) * 2654435761u >> 13);
}

/* Posts `chains` chains of 1 KiB with the running pattern. */
static void post_pattern(struct rig *r, unsigned q, unsigned chains, uint64_t *at)
{
    char buf[1024];
    for (unsigned i = 0; i < chains; i++) {
        fill_pattern(buf, sizeof(buf), *at);
        struct drv_buf b = drv_out(&r->g, buf, sizeof(buf));
        drv_add(&r->g.q[q], &b, 1);
        *at += sizeof(buf);
    }
    drv_kick(&r->g, q);
    drv_spin(&r->g);
}

/* Writes chains until the queue is full and nothing comes back any more. Returns bytes written. */
static uint64_t write_until_stuck(struct rig *r, unsigned q)
{
    uint64_t at = 0;
    for (unsigned flight = 0;;) {
        post_pattern(r, q, QUEUE - flight, &at);
        flight = QUEUE;
        while (drv_used(&r->g.q[q], NULL, NULL))
            flight--;
        if (flight == QUEUE)
            return at;
        assert_true(at < (2 << 20));
    }
}

/* Reads `len` bytes of the pattern from byte `from` on, while the loop runs. */
static void read_pattern(struct rig *r, int fd, uint64_t from, uint64_t len)
{
    char got[4096], want[4096];
    for (uint64_t done = 0; done < len;) {
        ssize_t n = read(fd, got, sizeof(got));
        if (n > 0) {
            fill_pattern(want, (size_t)n, from + done);
            assert_memory_equal(got, want, (size_t)n);
            done += (uint64_t)n;
        } else {
            assert_int_equal(errno, EAGAIN);
            assert_int_equal(loop_once(r->g.loop, 100), 0);
        }
    }
    assert_int_equal(read(fd, got, 1), -1);
}

static void a_sink_that_stalls_stops_the_queue_and_loses_nothing_case_31(void **state)
{
    struct rig *r = *state;
    start(r, 0);
    uint64_t sent = write_until_stuck(r, TX0);
    assert_true(sent <= CONSOLE_BUFFER + 65536 + (QUEUE + 1) * 1024); /* ring, pipe, queue: bounded */
    assert_true(loop_sleeps(r));
    read_pattern(r, r->out[0], 0, sent);
    assert_int_equal(r->g.q[TX0].avail_idx, drv_used_idx(&r->g.q[TX0]));
}

static void a_console_that_nobody_reads_drops_its_oldest_output_case_31(void **state)
{
    struct rig *r = *state;
    r->cfg.stall_ms = 1;
    start(r, 0);
    uint64_t at = 0;
    for (int i = 0; i < 8; i++) { /* 8 × 64 KiB; each round must come back whole */
        post_pattern(r, TX0, QUEUE, &at);
        drv_until(&r->g, drv_used_idx(&r->g.q[TX0]) == r->g.q[TX0].avail_idx);
    }
    /* What was in the pipe comes first, then the newest CONSOLE_BUFFER bytes. */
    char first[65536], want[4096];
    assert_int_equal(get(r->out[0], first, sizeof(first)), sizeof(first));
    fill_pattern(want, sizeof(want), 0);
    assert_memory_equal(first, want, sizeof(want));
    read_pattern(r, r->out[0], at - CONSOLE_BUFFER, CONSOLE_BUFFER);
}

static void a_sink_that_is_read_again_is_waited_for_again_case_31(void **state)
{
    struct rig *r = *state;
    r->cfg.stall_ms = 500;
    start(r, 0);
    uint64_t at = 0;
    for (int i = 0; i < 3; i++) /* pipe, ring, and one round that stalls until dropping begins */
        post_pattern(r, TX0, QUEUE, &at);
    drv_until(&r->g, drv_used_idx(&r->g.q[TX0]) == r->g.q[TX0].avail_idx);
    char got[4096];
    while (get(r->out[0], got, sizeof(got)) > 0)
        drv_spin(&r->g);
    uint64_t from = at;
    for (int i = 0; i < 3; i++)
        post_pattern(r, TX0, QUEUE, &at);
    assert_int_not_equal(drv_used_idx(&r->g.q[TX0]), r->g.q[TX0].avail_idx);
    read_pattern(r, r->out[0], from, at - from);
}

static void other_ports_wait_for_ever_and_lose_nothing_case_31(void **state)
{
    struct rig *r = *state;
    r->cfg.stall_ms = 1;
    start_two_ports(r);
    uint64_t sent = write_until_stuck(r, TX1);
    assert_true(loop_sleeps(r)); /* longer than stall_ms */
    assert_int_not_equal(r->g.q[TX1].avail_idx, drv_used_idx(&r->g.q[TX1]));
    assert_true(put(r, TX0, "the console goes on", 19));
    expect_bytes(r->out[0], "the console goes on");
    read_pattern(r, r->out1[0], 0, sent);
}

static void a_sink_that_is_closed_swallows_output_case_33(void **state)
{
    struct rig *r = *state;
    start(r, 0);
    assert_true(put(r, TX0, "before", 6));
    fd_closep(&r->out[0]); /* SIGPIPE is ignored, as the header asks */
    assert_true(loop_sleeps(r));
    assert_true(put(r, TX0, "after", 5));
    assert_true(put(r, TX0, "more", 4));
    assert_false(drv_broken(&r->g));
    char tail[32];
    assert_int_equal(console_tail(r->dev, tail, sizeof(tail)), 15);
    assert_string_equal(tail, "beforeaftermore");
}

static void a_stalled_queue_goes_on_when_its_sink_is_closed_case_33(void **state)
{
    struct rig *r = *state;
    start(r, 0);
    write_until_stuck(r, TX0);
    fd_closep(&r->out[0]);
    drv_until(&r->g, drv_used_idx(&r->g.q[TX0]) == r->g.q[TX0].avail_idx);
    assert_true(loop_sleeps(r));
}

static void a_full_disk_loses_output_and_is_tried_again_case_37(void **state)
{
    struct rig *r = *state;
    struct log_capture c;
    char text[1024];
    CLEANUP(fd_closep) int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
    assert_true(full >= 0);
    r->cfg.port[0].out_fd = full;
    start(r, 0);
    log_configure("warn");
    log_capture(&c);
    for (int i = 0; i < 1000; i++)
        assert_true(put(r, TX0, "lost", 4));
    int lines = log_captured(&c, text, sizeof(text));
    log_configure("off");
    assert_non_null(strstr(text, "No space left"));
    assert_true(lines >= 2 && lines < 500); /* more than one line: it was tried more than once */
    assert_false(drv_broken(&r->g));
}

/* --- The tail --- */

static void the_tail_keeps_the_newest_output(void **state)
{
    struct rig *r = *state;
    char tail[CONSOLE_TAIL + 10], want[CONSOLE_TAIL];
    r->cfg.port[0].out_fd = -1;
    start(r, 0);
    assert_int_equal(console_tail(r->dev, tail, sizeof(tail)), 0);
    assert_string_equal(tail, "");
    assert_true(put(r, TX0, "panic: no init", 14));
    assert_int_equal(console_tail(r->dev, tail, sizeof(tail)), 14);
    assert_string_equal(tail, "panic: no init");
    assert_int_equal(console_tail(r->dev, tail, 8), 7);
    assert_string_equal(tail, "no init");
    assert_int_equal(console_tail(r->dev, tail, 1), 0);
    assert_string_equal(tail, "");
    assert_int_equal(console_tail(r->dev, tail, 0), 0);
    uint64_t at = 0;
    post_pattern(r, TX0, 50, &at);
    assert_int_equal(console_tail(r->dev, tail, sizeof(tail)), CONSOLE_TAIL);
    fill_pattern(want, CONSOLE_TAIL, at - CONSOLE_TAIL);
    assert_memory_equal(tail, want, CONSOLE_TAIL);
    fill_pattern(want, 999, at - 999);
    assert_int_equal(console_tail(r->dev, tail, 1000), 999);
    assert_memory_equal(tail, want, 999);
}

static void the_tail_is_kept_over_a_reset(void **state)
{
    struct rig *r = *state;
    char tail[32];
    start(r, 0);
    assert_true(put(r, TX0, "last words", 10));
    drv_w32(&r->g, VIRTIO_MMIO_STATUS, 0);
    assert_int_equal(console_tail(r->dev, tail, sizeof(tail)), 10);
    assert_string_equal(tail, "last words");
}

/* --- Input --- */

static struct drv_buf give(struct rig *r, unsigned q, uint32_t len)
{
    struct drv_buf b = drv_in(&r->g, len);
    drv_add(&r->g.q[q], &b, 1);
    drv_kick(&r->g, q);
    drv_spin(&r->g);
    return b;
}

static void expect_input(struct rig *r, unsigned q, struct drv_buf b, const char *want)
{
    uint32_t len;
    drv_spin(&r->g);
    assert_true(drv_used(&r->g.q[q], NULL, &len));
    assert_int_equal(len, strlen(want));
    assert_memory_equal(drv_ptr(&r->g, b.gpa), want, len);
}

static void input_waits_for_bytes(void **state)
{
    struct rig *r = *state;
    start(r, 0);
    struct drv_buf b = give(r, RX0, 16);
    assert_false(drv_used(&r->g.q[RX0], NULL, NULL));
    assert_true(loop_sleeps(r));
    drv_irqs(&r->g);
    assert_int_equal(write(r->in[1], "abc", 3), 3);
    expect_input(r, RX0, b, "abc");
    assert_int_equal(drv_irqs(&r->g), 1);
    b = give(r, RX0, 16);
    assert_int_equal(write(r->in[1], "d", 1), 1);
    expect_input(r, RX0, b, "d");
}

static void input_waits_for_buffers_without_spinning_case_34(void **state)
{
    struct rig *r = *state;
    start(r, 0);
    assert_int_equal(write(r->in[1], "abcdefgh", 8), 8);
    assert_true(loop_sleeps(r));
    assert_true(drv_must_kick(&r->g.q[RX0], 0));
    expect_input(r, RX0, give(r, RX0, 3), "abc");
    assert_true(loop_sleeps(r));
    expect_input(r, RX0, give(r, RX0, 3), "def");
    expect_input(r, RX0, give(r, RX0, 3), "gh");
}

static void input_that_was_there_before_the_driver_is_delivered(void **state)
{
    struct rig *r = *state;
    assert_int_equal(write(r->in[1], "early", 5), 5);
    start(r, 0);
    expect_input(r, RX0, give(r, RX0, 16), "early");
}

static void the_end_of_input_is_quiet_case_34(void **state)
{
    struct rig *r = *state;
    start(r, 0);
    struct drv_buf b = give(r, RX0, 16);
    assert_int_equal(write(r->in[1], "last", 4), 4);
    fd_closep(&r->in[1]);
    expect_input(r, RX0, b, "last");
    give(r, RX0, 16);
    assert_true(loop_sleeps(r));
    assert_false(drv_used(&r->g.q[RX0], NULL, NULL));
    assert_true(put(r, TX0, "still here", 10));
}

static void a_hang_up_without_buffers_does_not_spin_and_loses_nothing_case_34(void **state)
{
    struct rig *r = *state;
    start(r, 0);
    assert_int_equal(write(r->in[1], "abcdef", 6), 6);
    fd_closep(&r->in[1]);
    assert_true(loop_sleeps(r));
    expect_input(r, RX0, give(r, RX0, 4), "abcd");
    assert_true(loop_sleeps(r));
    expect_input(r, RX0, give(r, RX0, 4), "ef");
    give(r, RX0, 4);
    assert_true(loop_sleeps(r));
}

static void a_file_is_input(void **state)
{
    struct rig *r = *state;
    FILE *file = tmpfile();
    fputs("from a file", file);
    rewind(file);
    r->cfg.port[0].in_fd = fileno(file);
    start(r, 0);
    expect_input(r, RX0, give(r, RX0, 6), "from a");
    expect_input(r, RX0, give(r, RX0, 16), " file");
    give(r, RX0, 16);
    assert_true(loop_sleeps(r));
    assert_false(drv_used(&r->g.q[RX0], NULL, NULL));
    fclose(file);
}

static void null_as_input_ends_at_once(void **state)
{
    struct rig *r = *state;
    CLEANUP(fd_closep) int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    r->cfg.port[0].in_fd = null;
    start(r, 0);
    give(r, RX0, 16);
    assert_true(loop_sleeps(r));
    assert_false(drv_used(&r->g.q[RX0], NULL, NULL));
}

static void one_read_may_fill_many_pieces(void **state)
{
    struct rig *r = *state;
    start(r, 0);
    struct drv_buf b[] = {drv_out(&r->g, "ignored", 7), drv_in(&r->g, 2), drv_in(&r->g, 0), drv_in(&r->g, 3)};
    drv_add(&r->g.q[RX0], b, 4);
    drv_kick(&r->g, RX0);
    assert_int_equal(write(r->in[1], "abcd", 4), 4);
    drv_spin(&r->g);
    uint32_t len;
    assert_true(drv_used(&r->g.q[RX0], NULL, &len));
    assert_int_equal(len, 4);
    assert_memory_equal(drv_ptr(&r->g, b[1].gpa), "ab", 2);
    assert_memory_equal(drv_ptr(&r->g, b[3].gpa), "cd\0", 3);
}

/* --- Hostile guests --- */

static void a_receive_buffer_that_cannot_be_written_is_a_fault_case_15(void **state)
{
    struct rig *r = *state;
    start(r, 0);
    assert_int_equal(write(r->in[1], "abc", 3), 3);
    struct drv_buf b = drv_out(&r->g, "read only", 9);
    drv_add(&r->g.q[RX0], &b, 1);
    drv_kick(&r->g, RX0);
    drv_spin(&r->g);
    assert_true(drv_broken(&r->g));
    drv_start(&r->g, 0, QUEUE);
    expect_input(r, RX0, give(r, RX0, 8), "abc"); /* not lost */
}

static void ring_faults_break_the_device_only_case_1_to_6(void **state)
{
    struct rig *r = *state;
    start_two_ports(r);
    assert_int_equal(write(r->in[1], "x", 1), 1);
    static const unsigned queues[] = {RX0, TX0, CTRL_TX, TX1};
    for (size_t i = 0; i < ARRAY_LEN(queues); i++) {
        struct drv_queue *q = &r->g.q[queues[i]];
        drv_start(&r->g, MULTIPORT, QUEUE);
        tell(r, 0, VIRTIO_CONSOLE_PORT_OPEN, 1); /* else its input would not be looked at */
        drv_desc(q, 3, (struct vring_desc){.flags = VRING_DESC_F_NEXT, .next = 3});
        drv_post(q, 3);
        drv_kick(&r->g, queues[i]);
        drv_spin(&r->g);
        assert_true(drv_broken(&r->g));
    }
    drv_start(&r->g, MULTIPORT, QUEUE);
    assert_true(put(r, TX0, "fine", 4));
}

static void a_reset_drops_the_chain_at_hand_case_19(void **state)
{
    struct rig *r = *state;
    start(r, 0);
    uint64_t sent = write_until_stuck(r, TX0);
    drv_w32(&r->g, VIRTIO_MMIO_STATUS, 0);
    drv_spin(&r->g);
    drv_start(&r->g, 0, QUEUE);
    /* What was taken is delivered, all of it in order, and less than was offered. */
    char got[4096], want[4096];
    uint64_t from = 0;
    for (size_t n; (n = get(r->out[0], got, sizeof(got))) > 0; from += n) {
        fill_pattern(want, n, from);
        assert_memory_equal(got, want, n);
        drv_spin(&r->g);
    }
    assert_true(from > CONSOLE_BUFFER && from < sent);
    assert_int_equal(drv_used_idx(&r->g.q[TX0]), 0);
    assert_true(put(r, TX0, "again", 5));
    expect_bytes(r->out[0], "again");
}

static void a_flood_of_empty_chains_takes_turns_case_24(void **state)
{
    struct rig *r = *state;
    start(r, 0);
    drv_spin(&r->g);
    struct drv_buf b = drv_out(&r->g, "", 0);
    for (int round = 0; round < 200; round++) {
        for (int i = 0; i < QUEUE; i++)
            drv_add(&r->g.q[TX0], &b, 1);
        drv_kick(&r->g, TX0);
        drv_spin(&r->g);
        assert_int_equal(drv_used_idx(&r->g.q[TX0]), r->g.q[TX0].avail_idx);
    }
}

/* --- Control --- */

struct heard {
    uint32_t len;
    struct virtio_console_control c;
    char more[64];
};

/* The next message to the guest; false when there is none. */
static bool hear(struct rig *r, struct heard *h)
{
    struct drv_buf b = give(r, CTRL_RX, sizeof(h->c) + sizeof(h->more));
    memset(h, 0, sizeof(*h));
    if (!drv_used(&r->g.q[CTRL_RX], NULL, &h->len))
        return false;
    memcpy(&h->c, drv_ptr(&r->g, b.gpa), sizeof(h->c));
    memcpy(h->more, (uint8_t *)drv_ptr(&r->g, b.gpa) + sizeof(h->c), sizeof(h->more));
    return true;
}

static void expect_control(struct rig *r, uint32_t id, uint16_t event, uint16_t value)
{
    struct heard h;
    assert_true(hear(r, &h));
    assert_int_equal(h.c.id, id);
    assert_int_equal(h.c.event, event);
    assert_int_equal(h.c.value, value);
}

static void one_port_without_input_needs_no_control(void **state)
{
    struct rig *r = *state;
    r->cfg.port[0].in_fd = -1;
    start(r, 0);
    assert_int_equal(vmmio_queues(r->g.mmio), 2);
    assert_int_equal(drv_offered(&r->g) & 0xffffff, 0);
}

static void ports_are_announced_named_and_opened(void **state)
{
    struct rig *r = *state;
    start_two_ports(r);
    assert_int_equal(vmmio_queues(r->g.mmio), 6);
    assert_int_equal(drv_r32(&r->g, 0x100 + 4), 2); /* max_nr_ports */
    tell(r, 0, VIRTIO_CONSOLE_DEVICE_READY, 1);
    expect_control(r, 0, VIRTIO_CONSOLE_PORT_ADD, 1);
    expect_control(r, 1, VIRTIO_CONSOLE_PORT_ADD, 1);
    tell(r, 0, VIRTIO_CONSOLE_PORT_READY, 1);
    expect_control(r, 0, VIRTIO_CONSOLE_CONSOLE_PORT, 1);
    expect_control(r, 0, VIRTIO_CONSOLE_PORT_OPEN, 1);
    tell(r, 1, VIRTIO_CONSOLE_PORT_READY, 1);
    struct heard h;
    assert_true(hear(r, &h));
    assert_int_equal(h.c.event, VIRTIO_CONSOLE_PORT_NAME);
    assert_int_equal(h.len, 8 + 4);
    assert_memory_equal(h.more, "chan", 4);
    expect_control(r, 1, VIRTIO_CONSOLE_PORT_OPEN, 1);
    assert_true(put(r, TX1, "through the channel", 19));
    expect_bytes(r->out1[0], "through the channel");
}

static void input_of_the_console_waits_for_its_driver(void **state)
{
    struct rig *r = *state;
    assert_int_equal(write(r->in[1], "typed early", 11), 11);
    fd_closep(&r->in[1]);
    start(r, MULTIPORT);
    assert_int_equal(vmmio_queues(r->g.mmio), 4);
    struct drv_buf b = give(r, RX0, 16);
    assert_true(loop_sleeps(r));
    assert_false(drv_used(&r->g.q[RX0], NULL, NULL));
    tell(r, 0, VIRTIO_CONSOLE_PORT_OPEN, 1);
    expect_input(r, RX0, b, "typed early");
}

static void three_ports_use_all_queues(void **state)
{
    struct rig *r = *state;
    r->cfg.nports = 3;
    r->cfg.port[2] = (struct console_port_config){r->in1[0], r->out1[1], NULL};
    start(r, MULTIPORT);
    assert_int_equal(vmmio_queues(r->g.mmio), 8);
    assert_true(put(r, TX2, "port 2", 6));
    expect_bytes(r->out1[0], "port 2");
    tell(r, 2, VIRTIO_CONSOLE_PORT_READY, 1);
    expect_control(r, 2, VIRTIO_CONSOLE_PORT_OPEN, 1); /* it has no name to tell */
    tell(r, 2, VIRTIO_CONSOLE_PORT_OPEN, 1);
    assert_int_equal(write(r->in1[1], "in", 2), 2);
    expect_input(r, RX2, give(r, RX2, 8), "in");
}

static void input_of_a_port_waits_until_a_process_opens_it(void **state)
{
    struct rig *r = *state;
    start_two_ports(r);
    assert_int_equal(write(r->in1[1], "abc", 3), 3);
    struct drv_buf b = give(r, RX1, 8);
    assert_true(loop_sleeps(r));
    assert_false(drv_used(&r->g.q[RX1], NULL, NULL));
    tell(r, 1, VIRTIO_CONSOLE_PORT_OPEN, 1);
    expect_input(r, RX1, b, "abc");
    tell(r, 1, VIRTIO_CONSOLE_PORT_OPEN, 0);
    assert_int_equal(write(r->in1[1], "d", 1), 1);
    b = give(r, RX1, 8);
    assert_true(loop_sleeps(r));
    assert_false(drv_used(&r->g.q[RX1], NULL, NULL));
    tell(r, 1, VIRTIO_CONSOLE_PORT_OPEN, 1);
    expect_input(r, RX1, b, "d");
}

static void the_guest_learns_when_a_port_has_ended(void **state)
{
    struct rig *r = *state;
    r->cfg.nports = 2;
    r->cfg.port[1] = (struct console_port_config){r->in1[0], -1, "in"};
    start(r, MULTIPORT);
    tell(r, 1, VIRTIO_CONSOLE_PORT_OPEN, 1);
    give(r, RX1, 8);
    fd_closep(&r->in1[1]);
    drv_spin(&r->g);
    expect_control(r, 1, VIRTIO_CONSOLE_PORT_OPEN, 0);
}

static void a_driver_without_multiport_has_port_0_only(void **state)
{
    struct rig *r = *state;
    r->cfg.nports = 2;
    r->cfg.port[1] = (struct console_port_config){r->in1[0], r->out1[1], NULL};
    start(r, 0);
    assert_true(put(r, TX0, "zero", 4));
    expect_bytes(r->out[0], "zero");
    assert_false(put(r, TX1, "one", 3));
    struct virtio_console_control c = {.event = VIRTIO_CONSOLE_DEVICE_READY, .value = 1};
    assert_false(put(r, CTRL_TX, &c, sizeof(c)));
    struct heard h;
    assert_false(hear(r, &h));
    assert_false(drv_broken(&r->g));
}

static void garbage_on_the_control_queue_is_ignored_case_32(void **state)
{
    struct rig *r = *state;
    struct heard h;
    start_two_ports(r);
    for (uint32_t len = 0; len < 8; len++)
        assert_true(put(r, CTRL_TX, "\0\0\0\0\0\0\1\0", len));
    static const uint32_t ids[] = {2, 3, 7, 0x7fffffff, 0x80000000, UINT32_MAX};
    for (size_t i = 0; i < ARRAY_LEN(ids); i++)
        for (uint16_t event = 1; event < 10; event++)
            tell(r, ids[i], event, 1);
    for (uint32_t event = 8; event < 0x10000; event += 1021)
        tell(r, 0, (uint16_t)event, 1);
    tell(r, 0, VIRTIO_CONSOLE_DEVICE_READY, 0);
    tell(r, 1, VIRTIO_CONSOLE_PORT_READY, 0);
    assert_false(drv_broken(&r->g));
    /* A message that is longer than it should be counts by its start; an odd split is fine. */
    struct drv_buf b[] = {drv_out(&r->g, "\0\0\0", 3), drv_out(&r->g, "\0\0\0\1\0trailing", 13)};
    assert_int_equal(b[1].len, 13);
    drv_add(&r->g.q[CTRL_TX], b, 2);
    drv_kick(&r->g, CTRL_TX);
    drv_spin(&r->g);
    /* DEVICE_READY for any id was among all this: ports are announced, once. */
    expect_control(r, 0, VIRTIO_CONSOLE_PORT_ADD, 1);
    expect_control(r, 1, VIRTIO_CONSOLE_PORT_ADD, 1);
    assert_false(hear(r, &h));
}

static void a_guest_that_asks_and_never_listens_costs_nothing_case_11(void **state)
{
    struct rig *r = *state;
    struct heard h;
    start_two_ports(r);
    for (int i = 0; i < 5000; i++) {
        gpa_t mark = r->g.next_gpa;
        tell(r, 0, VIRTIO_CONSOLE_DEVICE_READY, 1);
        tell(r, 1, VIRTIO_CONSOLE_PORT_READY, 1);
        r->g.next_gpa = mark;
    }
    assert_true(drv_must_kick(&r->g.q[CTRL_RX], 0)); /* for the first buffer, it wants to be told */
    expect_control(r, 0, VIRTIO_CONSOLE_PORT_ADD, 1);
    expect_control(r, 1, VIRTIO_CONSOLE_PORT_ADD, 1);
    expect_control(r, 1, VIRTIO_CONSOLE_PORT_NAME, 1);
    expect_control(r, 1, VIRTIO_CONSOLE_PORT_OPEN, 1);
    assert_false(hear(r, &h));
}

static void a_control_buffer_that_is_too_small_is_a_fault(void **state)
{
    struct rig *r = *state;
    start_two_ports(r);
    give(r, CTRL_RX, 7);
    tell(r, 0, VIRTIO_CONSOLE_DEVICE_READY, 1);
    assert_true(drv_broken(&r->g));
}

/* --- Size --- */

static void the_size_is_offered_when_known(void **state)
{
    struct rig *r = *state;
    r->cfg.port[0].in_fd = -1;
    r->cfg.cols = 132;
    r->cfg.rows = 43;
    start(r, SIZE);
    assert_int_equal(drv_offered(&r->g) & 0xffffff, SIZE);
    assert_int_equal(drv_r32(&r->g, 0x100), 43 << 16 | 132);
    drv_irqs(&r->g);
    console_resize(r->dev, 80, 25);
    assert_int_equal(drv_irqs(&r->g), 1);
    assert_int_equal(drv_r32(&r->g, VIRTIO_MMIO_INTERRUPT_STATUS) & VIRTIO_MMIO_INT_CONFIG, 2);
    uint16_t rows;
    vmmio_read(r->g.mmio, 0x102, &rows, 2);
    assert_int_equal(rows, 25);
}

static void a_size_that_was_not_offered_cannot_change(void **state)
{
    struct rig *r = *state;
    start(r, 0);
    drv_irqs(&r->g);
    console_resize(r->dev, 80, 25);
    assert_int_equal(drv_irqs(&r->g), 0);
    assert_int_equal(drv_r32(&r->g, 0x100), 0);
}

static void with_control_the_size_is_a_message(void **state)
{
    struct rig *r = *state;
    struct heard h;
    r->cfg.nports = 2;
    r->cfg.cols = 100;
    r->cfg.rows = 30;
    start(r, MULTIPORT | SIZE);
    tell(r, 0, VIRTIO_CONSOLE_PORT_READY, 1);
    expect_control(r, 0, VIRTIO_CONSOLE_CONSOLE_PORT, 1);
    for (int i = 0; i < 2; i++) {
        assert_true(hear(r, &h));
        assert_int_equal(h.c.event, VIRTIO_CONSOLE_RESIZE);
        assert_int_equal(h.len, 12);
        uint16_t want[2] = {(uint16_t)(30 + i), (uint16_t)(100 + i)}; /* rows, then columns: as Linux reads */
        assert_memory_equal(h.more, want, 4);
        if (i == 0) {
            expect_control(r, 0, VIRTIO_CONSOLE_PORT_OPEN, 1);
            console_resize(r->dev, 101, 31);
            drv_spin(&r->g);
        }
    }
}

/* --- Life --- */

static void assert_refused(struct rig *r, int code, const char *why)
{
    struct vdev *dev = NULL;
    struct err e = {0};
    int before = fds_next();
    int ret = console_create(&dev, &r->cfg, &r->g.mem, r->g.loop, &e);
    if (ret != code || !strstr(e.text, why))
        fail_msg("%d instead of %d, or not '%s': %s", ret, code, why, e.text);
    assert_int_equal(e.code, code);
    assert_null(dev);
    assert_int_equal(fds_next(), before);
}

static void impossible_configurations_are_refused(void **state)
{
    struct rig *r = *state;
    r->cfg.nports = 0;
    assert_refused(r, -EINVAL, "not 0");
    r->cfg.nports = CONSOLE_PORTS_MAX + 1;
    assert_refused(r, -EINVAL, "not 4");
    r->cfg.nports = 2;
    r->cfg.port[0].name = "console";
    assert_refused(r, -EINVAL, "port 0 cannot have the name 'console'");
    r->cfg.port[0].name = NULL;
    r->cfg.port[1].name = "";
    assert_refused(r, -EINVAL, "port 1 cannot have the name ''");
    r->cfg.port[1].name = "01234567890123456789012345678901";
    assert_refused(r, -EINVAL, "1 to 31 bytes");
    r->cfg.port[1].name++;
    r->cfg.port[1].out_fd = 9999;
    assert_refused(r, -EBADF, "port 1: cannot use descriptor 9999 for output");
    r->cfg.port[1].out_fd = -1;
    r->cfg.port[1].in_fd = 9999;
    assert_refused(r, -EBADF, "port 1: cannot use descriptor 9999 for input");
}

struct creation {
    struct rig *r;
    struct vdev *dev;
};

static int create_once(void *arg)
{
    struct creation *c = arg;
    return console_create(&c->dev, &c->r->cfg, &c->r->g.mem, c->r->g.loop, NULL);
}

static void destroy_once(void *arg)
{
    struct vdev *d = ((struct creation *)arg)->dev;
    d->ops->destroy(d);
}

static void a_failed_creation_leaks_nothing(void **state)
{
    struct rig *r = *state;
    struct creation c = {.r = r};
    r->cfg.nports = 2;
    r->cfg.port[1] = (struct console_port_config){r->in1[0], r->out1[1], "chan"};
    assert_int_equal(fds_run_out(create_once, destroy_once, &c), 4);
}

static void *read_slowly(void *arg)
{
    int fd = *(int *)arg;
    char buf[1000];
    uint64_t total = 0;
    fd_set_nonblock(fd, 0);
    for (ssize_t n; (n = read(fd, buf, sizeof(buf))) > 0; total += (uint64_t)n)
        sched_yield();
    return (void *)(uintptr_t)total;
}

static void the_last_output_is_delivered_before_the_device_ends(void **state)
{
    struct rig *r = *state;
    start(r, 0);
    write_until_stuck(r, TX0);
    pthread_t reader;
    fd_closep(&r->out[1]); /* the console's own copy is the last writer */
    assert_int_equal(pthread_create(&reader, NULL, read_slowly, &r->out[0]), 0);
    drv_close(&r->g);
    r->dev = NULL;
    void *total;
    pthread_join(reader, &total);
    assert_true((uintptr_t)total >= 65536 + CONSOLE_BUFFER);
    drv_open(&r->g);
}

static void a_sink_that_nobody_reads_does_not_hold_up_the_end(void **state)
{
    struct rig *r = *state;
    r->cfg.stall_ms = 1;
    r->cfg.nports = 2;
    r->cfg.port[1] = (struct console_port_config){-1, r->out1[1], NULL};
    start(r, MULTIPORT);
    write_until_stuck(r, TX1);
    drv_close(&r->g);
    r->dev = NULL;
    drv_open(&r->g);
}

static void two_consoles_do_not_share_anything(void **state)
{
    struct rig *a = *state, *b;
    void *other = NULL;
    assert_int_equal(set_up(&other), 0);
    b = other;
    start(a, 0);
    start(b, 0);
    assert_true(put(a, TX0, "a", 1));
    assert_true(put(b, TX0, "b", 1));
    expect_bytes(a->out[0], "a");
    expect_bytes(b->out[0], "b");
    tear_down(&other);
}

/* --- Threads --- */

static void *run_loop(void *loop)
{
    return loop_run(loop) < 0 ? loop : NULL;
}

static void the_tail_and_the_size_may_be_used_from_any_thread(void **state)
{
    struct rig *r = *state;
    pthread_t loop, reader;
    r->cfg.cols = 80;
    r->cfg.rows = 25;
    start(r, SIZE);
    fd_closep(&r->out[1]);
    assert_int_equal(pthread_create(&reader, NULL, read_slowly, &r->out[0]), 0);
    assert_int_equal(pthread_create(&loop, NULL, run_loop, r->g.loop), 0);
    struct drv_buf b = drv_out(&r->g, "0123456789", 10);
    for (uint16_t i = 0; i < 2000; i++) {
        char tail[64];
        drv_add(&r->g.q[TX0], &b, 1);
        drv_kick_fd(&r->g, TX0);
        console_tail(r->dev, tail, sizeof(tail));
        console_resize(r->dev, i, i);
        while (!drv_used(&r->g.q[TX0], NULL, NULL))
            sched_yield();
    }
    loop_stop(r->g.loop);
    void *failed, *total;
    pthread_join(loop, &failed);
    assert_null(failed);
    drv_close(&r->g);
    r->dev = NULL;
    pthread_join(reader, &total);
    assert_int_equal((uintptr_t)total, 20000);
    drv_open(&r->g);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(output_reaches_the_sink),
        CASE(chains_of_many_pieces_are_one_stream_case_32),
        CASE(a_write_of_hundreds_of_megabytes_takes_turns_and_no_memory_case_32),
        CASE(files_take_output_at_once),
        CASE(sockets_take_output_and_give_input),
        CASE(the_callers_descriptors_stay_blocking),
        CASE(a_terminal_is_opened_anew),
        CASE(a_sink_that_stalls_stops_the_queue_and_loses_nothing_case_31),
        CASE(a_console_that_nobody_reads_drops_its_oldest_output_case_31),
        CASE(a_sink_that_is_read_again_is_waited_for_again_case_31),
        CASE(other_ports_wait_for_ever_and_lose_nothing_case_31),
        CASE(a_sink_that_is_closed_swallows_output_case_33),
        CASE(a_stalled_queue_goes_on_when_its_sink_is_closed_case_33),
        CASE(a_full_disk_loses_output_and_is_tried_again_case_37),
        CASE(the_tail_keeps_the_newest_output),
        CASE(the_tail_is_kept_over_a_reset),
        CASE(input_waits_for_bytes),
        CASE(input_waits_for_buffers_without_spinning_case_34),
        CASE(input_that_was_there_before_the_driver_is_delivered),
        CASE(the_end_of_input_is_quiet_case_34),
        CASE(a_hang_up_without_buffers_does_not_spin_and_loses_nothing_case_34),
        CASE(a_file_is_input),
        CASE(null_as_input_ends_at_once),
        CASE(one_read_may_fill_many_pieces),
        CASE(a_receive_buffer_that_cannot_be_written_is_a_fault_case_15),
        CASE(ring_faults_break_the_device_only_case_1_to_6),
        CASE(a_reset_drops_the_chain_at_hand_case_19),
        CASE(a_flood_of_empty_chains_takes_turns_case_24),
        CASE(one_port_without_input_needs_no_control),
        CASE(input_of_the_console_waits_for_its_driver),
        CASE(ports_are_announced_named_and_opened),
        CASE(three_ports_use_all_queues),
        CASE(input_of_a_port_waits_until_a_process_opens_it),
        CASE(the_guest_learns_when_a_port_has_ended),
        CASE(a_driver_without_multiport_has_port_0_only),
        CASE(garbage_on_the_control_queue_is_ignored_case_32),
        CASE(a_guest_that_asks_and_never_listens_costs_nothing_case_11),
        CASE(a_control_buffer_that_is_too_small_is_a_fault),
        CASE(the_size_is_offered_when_known),
        CASE(a_size_that_was_not_offered_cannot_change),
        CASE(with_control_the_size_is_a_message),
        CASE(impossible_configurations_are_refused),
        CASE(a_failed_creation_leaks_nothing),
        CASE(the_last_output_is_delivered_before_the_device_ends),
        CASE(a_sink_that_nobody_reads_does_not_hold_up_the_end),
        CASE(two_consoles_do_not_share_anything),
        CASE(the_tail_and_the_size_may_be_used_from_any_thread),
    };
    signal(SIGPIPE, SIG_IGN);
    log_configure("off");
    return cmocka_run_group_tests_name("console", tests, NULL, NULL);
}
