/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cubby-vmm as a process: how it is stopped, what it says and leaves behind, and what it answers to bad
 * input. Run from the top of the tree; CUBBY_VMM names another program than build/cubby-vmm.
 */
#include "base/io.h"
#include "tests/kvm/guest.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

GUEST(spin, "1: hlt\njmp 1b\n");
GUEST(off, POWER_OFF);
GUEST(crash, "ud2\n");

#define DEADLINE_S 60

/* A run of cubby-vmm in a folder of its own. */
struct process {
    char dir[32];
    char kernel[64], spare[64];
    pid_t pid;
    int out, events; /* stdout and stderr; --events */
    char text[8192];
    int code; /* exit code, or -N for signal N */
};

static void process_init(struct process *p, const uint8_t *begin, const uint8_t *end)
{
    char buf[8192];
    memset(p, 0, sizeof(*p));
    strcpy(p->dir, "/tmp/cubby-process-XXXXXX");
    assert_non_null(mkdtemp(p->dir));
    snprintf(p->kernel, sizeof(p->kernel), "%s/kernel", p->dir);
    int from = guest_make_kernel(begin, end), to = open(p->kernel, O_WRONLY | O_CREAT, 0600);
    ssize_t n = pread(from, buf, sizeof(buf), 0);
    assert_true(n > 0);
    assert_int_equal(write_full(to, buf, (size_t)n), 0);
    close(from);
    close(to);
}

static void process_fini(struct process *p)
{
    char command[100];
    close(p->out);
    close(p->events);
    snprintf(command, sizeof(command), "rm -r %s", p->dir);
    assert_int_equal(system(command), 0);
}

/* Starts it with the arguments in `line`, in which % stands for the folder; fd 3 is the events' pipe. */
static void start(struct process *p, const char *line, int die_with)
{
    char words[2048];
    char *argv[64] = {NULL};
    int argc = 1, out[2], events[2];
    size_t n = 0;
    for (const char *s = line; *s; s++)
        n +=
            (size_t)snprintf(words + n, sizeof(words) - n, *s == '%' ? "%s" : "%.1s", *s == '%' ? p->dir : s);
    argv[0] = getenv("CUBBY_VMM") ? getenv("CUBBY_VMM") : "build/cubby-vmm";
    for (char *w = strtok(words, " "); w; w = strtok(NULL, " "))
        argv[argc++] = w;
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    assert_int_equal(pipe2(events, O_CLOEXEC), 0);
    p->pid = fork();
    assert_true(p->pid >= 0);
    if (p->pid == 0) {
        int keep = die_with >= 0 ? fcntl(die_with, F_DUPFD, 10) : -1;
        int e = fcntl(events[1], F_DUPFD, 10);
        dup2(out[1], 1);
        dup2(out[1], 2);
        dup2(e, 3);
        if (keep >= 0)
            dup2(keep, 4);
        alarm(DEADLINE_S); /* survives execve() */
        execv(argv[0], argv);
        _exit(99);
    }
    close(out[1]);
    close(events[1]);
    p->out = out[0];
    p->events = events[0];
}

/* Reads until the end of file. */
static void slurp(int fd, char *text, size_t cap)
{
    size_t len = 0;
    ssize_t n;
    while (len + 1 < cap && (n = read(fd, text + len, cap - 1 - len)) > 0)
        len += (size_t)n;
    text[len] = '\0';
}

/* Reads events until one of this name is there. */
static void await_event(struct process *p, const char *name)
{
    char want[64];
    size_t len = 0;
    snprintf(want, sizeof(want), "{\"event\":\"%s\"", name);
    while (len + 1 < sizeof(p->text)) {
        struct pollfd pfd = {.fd = p->events, .events = POLLIN};
        assert_int_equal(poll(&pfd, 1, DEADLINE_S * 1000), 1);
        ssize_t n = read(p->events, p->text + len, sizeof(p->text) - 1 - len);
        if (n <= 0)
            fail_msg("no event '%s' came, only: %s", name, p->text);
        len += (size_t)n;
        p->text[len] = '\0';
        if (strstr(p->text, want))
            return;
    }
}

static void await_end(struct process *p)
{
    int status;
    slurp(p->out, p->text, sizeof(p->text));
    assert_int_equal(waitpid(p->pid, &status, 0), p->pid);
    p->code = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static int exists(struct process *p, const char *name)
{
    char path[100];
    struct stat st;
    snprintf(path, sizeof(path), "%s/%s", p->dir, name);
    return stat(path, &st) == 0;
}

/* --- ends
 * ------------------------------------------------------------------------------------------------------ */

static void power_off_is_0_and_quiet(void **state)
{
    (void)state;
    struct process p;
    process_init(&p, off_begin, off_end);
    start(&p, "--kernel %/kernel --memory 32 --events 3 --timeline %/timeline --vsock %/v", -1);
    await_end(&p);
    assert_int_equal(p.code, 0);
    assert_string_equal(p.text, "");
    slurp(p.events, p.text, sizeof(p.text));
    assert_non_null(strstr(p.text, "{\"event\":\"created\""));
    assert_non_null(strstr(p.text, "{\"event\":\"running\""));
    assert_non_null(strstr(p.text, "\"reason\":\"poweroff\""));
    assert_false(exists(&p, "v"));
    char path[100];
    snprintf(path, sizeof(path), "%s/timeline", p.dir);
    json_t *j = json_load_file(path, 0, NULL);
    assert_non_null(json_object_get(json_object_get(j, "marks"), "first-run"));
    assert_string_equal(json_string_value(json_object_get(json_object_get(j, "end"), "reason")), "poweroff");
    json_decref(j);
    process_fini(&p);
}

static void crash_has_a_code_and_a_line(void **state)
{
    (void)state;
    struct process p;
    process_init(&p, crash_begin, crash_end);
    start(&p, "--kernel %/kernel --memory 32", -1);
    await_end(&p);
    assert_int_equal(p.code, END_EXIT_TRIPLE_FAULT);
    assert_non_null(strstr(p.text, "cubby-vmm: triple-fault: vCPU 0 was reset without notice"));
    process_fini(&p);
}

static void signals_stop_it_in_order(void **state)
{
    (void)state;
    static const int signals[] = {SIGTERM, SIGINT, SIGHUP};
    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
        struct process p;
        process_init(&p, spin_begin, spin_end);
        start(&p, "--kernel %/kernel --memory 32 --events 3 --vsock %/v --cpus 2", -1);
        await_event(&p, "running");
        assert_true(exists(&p, "v"));
        kill(p.pid, signals[i]);
        await_event(&p, "ended");
        assert_non_null(strstr(p.text, "\"reason\":\"stopped\""));
        await_end(&p);
        assert_int_equal(p.code, 0);
        assert_false(exists(&p, "v"));
        process_fini(&p);
    }
}

static void one_wish_delivered_twice_is_one(void **state)
{
    (void)state;
    struct process p;
    process_init(&p, spin_begin, spin_end);
    start(&p, "--kernel %/kernel --memory 32 --events 3 --vsock %/v", -1);
    await_event(&p, "running");
    kill(p.pid, SIGSTOP); /* so that both are pending at once, as timeout(1) sends them */
    kill(p.pid, SIGINT);
    kill(p.pid, SIGTERM);
    kill(p.pid, SIGCONT);
    await_end(&p);
    assert_int_equal(p.code, 0); /* within 300 ms: one wish, delivered twice as timeout(1) does */
    assert_false(exists(&p, "v"));
    process_fini(&p);
}

static void killed_vmm_leaves_events_without_an_end(void **state)
{
    (void)state;
    struct process p;
    process_init(&p, spin_begin, spin_end);
    start(&p, "--kernel %/kernel --memory 32 --events 3 --vsock %/v", -1);
    await_event(&p, "running");
    kill(p.pid, SIGKILL);
    await_end(&p);
    assert_int_equal(p.code, -SIGKILL);
    slurp(p.events, p.text, sizeof(p.text));
    assert_null(strstr(p.text, "ended"));
    close(p.out);
    close(p.events);
    /* The socket file that is left does not stop the next one. */
    start(&p, "--kernel %/kernel --memory 32 --events 3 --vsock %/v", -1);
    await_event(&p, "running");
    kill(p.pid, SIGTERM);
    await_end(&p);
    assert_int_equal(p.code, 0);
    process_fini(&p);
}

static void it_dies_with_its_owner(void **state)
{
    (void)state;
    int fds[2];
    struct process p;
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    process_init(&p, spin_begin, spin_end);
    start(&p, "--kernel %/kernel --memory 32 --events 3 --die-with 4", fds[0]);
    await_event(&p, "running");
    assert_int_equal(write_full(fds[1], "x", 1), 0); /* a byte is not an end */
    usleep(20000);
    assert_int_equal(waitpid(p.pid, NULL, WNOHANG), 0);
    close(fds[0]);
    close(fds[1]);
    await_event(&p, "ended");
    assert_non_null(strstr(p.text, "\"reason\":\"owner-gone\""));
    await_end(&p);
    assert_int_equal(p.code, 0);
    process_fini(&p);
}

static void a_second_vm_cannot_take_a_living_socket(void **state)
{
    (void)state;
    struct process p, q;
    process_init(&p, spin_begin, spin_end);
    process_init(&q, spin_begin, spin_end);
    start(&p, "--kernel %/kernel --memory 32 --events 3 --vsock %/v", -1);
    await_event(&p, "running");
    char line[200];
    snprintf(line, sizeof(line), "--kernel %%/kernel --memory 32 --vsock %s/v", p.dir);
    start(&q, line, -1);
    await_end(&q);
    assert_int_equal(q.code, END_EXIT_SETUP);
    assert_non_null(strstr(q.text, "/v"));
    assert_true(exists(&p, "v"));
    kill(p.pid, SIGTERM);
    await_end(&p);
    process_fini(&p);
    process_fini(&q);
}

/* --- bad input
 * --------------------------------------------------------------------------------------------------- */

static void expect_refusal(const char *line, const char *words)
{
    struct process p;
    process_init(&p, off_begin, off_end);
    char path[100];
    snprintf(path, sizeof(path), "%s/empty", p.dir);
    close(open(path, O_WRONLY | O_CREAT, 0600));
    snprintf(path, sizeof(path), "%s/taken", p.dir);
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    assert_int_equal(write_full(fd, "not a socket", 12), 0);
    close(fd);
    snprintf(path, sizeof(path), "%s/fifo", p.dir);
    assert_int_equal(mkfifo(path, 0600), 0);
    start(&p, line, -1);
    await_end(&p);
    if (p.code != END_EXIT_SETUP || !strstr(p.text, words) ||
        strchr(p.text, '\n') != p.text + strlen(p.text) - 1)
        fail_msg("'%s' ends with %d: %s", line, p.code, p.text);
    assert_false(exists(&p, "v"));
    process_fini(&p);
}

static void bad_input_is_refused_in_one_line(void **state)
{
    (void)state;
    expect_refusal("--kernel %/none", "/none': No such file");
    expect_refusal("--kernel %/empty", "/empty'");
    expect_refusal("--kernel %", "'/tmp/cubby-process-");
    expect_refusal("--kernel /dev/null", "/dev/null");
    expect_refusal("--kernel /etc/hostname", "/etc/hostname");
    expect_refusal("--kernel %/kernel --initrd %/none", "initrd '");
    expect_refusal("--kernel %/kernel --initrd %", "initrd '");
    expect_refusal("--kernel %/kernel --cpus 0", "0 vCPUs are not possible");
    expect_refusal("--kernel %/kernel --cpus 1000", "1000 vCPUs are not possible");
    expect_refusal("--kernel %/kernel --memory 1", "1 MiB of memory are too little");
    expect_refusal("--kernel %/kernel --memory 4000000000", "too much");
    expect_refusal("--kernel %/kernel --boot bios", "boot protocol 'bios'");
    expect_refusal("--kernel %/kernel --boot pvh", "/kernel'");
    expect_refusal("--kernel %/kernel --disk %/none", "/none'");
    expect_refusal("--kernel %/kernel --disk %/empty", "/empty'");
    expect_refusal("--kernel %/kernel --disk %", "'/tmp/cubby-process-");
    expect_refusal("--kernel %/kernel --vsock %/v,cid=2", "2");
    expect_refusal("--kernel %/kernel --vsock %/taken", "/taken");
    expect_refusal(
        "--kernel %/kernel --vsock %/"
        "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123",
        "107");
    expect_refusal("--kernel %/kernel --vsock %/none/v", "/none/v");
    expect_refusal("--kernel %/kernel --console %/none/c", "/none/c");
    expect_refusal("--kernel %/kernel --console %/fifo", "/fifo");
    expect_refusal("--kernel %/kernel --events %/fifo", "/fifo");
    expect_refusal("--kernel %/kernel --disk %/fifo", "/fifo");
    expect_refusal("--kernel %/fifo", "/fifo");
    expect_refusal("--kernel %/kernel --events 77", "77 is not an open descriptor");
    expect_refusal("--kernel %/kernel --events %/none/e", "/none/e");
    expect_refusal("--kernel %/kernel --die-with 77 --vsock %/v", "77 is not an open descriptor");
    expect_refusal("--config %/kernel", "/kernel: line 1");
    expect_refusal("--config %", "/tmp/cubby-process-");
    expect_refusal("--nonsense", "'--nonsense'");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(power_off_is_0_and_quiet),
        cmocka_unit_test(crash_has_a_code_and_a_line),
        cmocka_unit_test(signals_stop_it_in_order),
        cmocka_unit_test(one_wish_delivered_twice_is_one),
        cmocka_unit_test(killed_vmm_leaves_events_without_an_end),
        cmocka_unit_test(it_dies_with_its_owner),
        cmocka_unit_test(a_second_vm_cannot_take_a_living_socket),
        cmocka_unit_test(bad_input_is_refused_in_one_line),
    };
    alarm(300);
    return cmocka_run_group_tests_name("process", tests, NULL, NULL);
}
