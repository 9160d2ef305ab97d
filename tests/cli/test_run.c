/* SPDX-License-Identifier: Apache-2.0 */
/* `cubby run` as a process, with a fake VMM: exit codes, streams, signals, errors, and nothing left. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cli/cli.h"
#include "tests/runtime/fake_vmm.h"
#include "tests/runtime/place.h"

#include <sys/wait.h>

static struct place place;

static int set_up(void **state)
{
    (void)state;
    if (place_make(&place) < 0)
        return -1;
    fake_assets(place.assets);
    unsetenv("FAKE_PROBE");
    unsetenv("CUBBY_LOG");
    setenv("FAKE_VMM", "ok", 1);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    int boxes = count_boxes(&place), files = count_entries(place.tmp);
    place_remove(&place);
    if (boxes || files)
        fprintf(stderr, "left over: %d boxes, %d files\n", boxes, files);
    return boxes || files;
}

/* A cubby that runs beside us. */
struct command {
    pid_t pid;
    int in, out, err; /* our ends of its stdio */
    char text_out[4096], text_err[4096];
};

static char **split(const char *line)
{
    static char copy[600], *argv[40];
    size_t n = 0;
    snprintf(copy, sizeof(copy), "%s", line);
    for (char *rest = copy, *word; (word = strsep(&rest, " "));)
        argv[n++] = word;
    argv[n] = NULL;
    return argv;
}

static void start(struct command *c, const char *line)
{
    int in[2], out[2], err[2];
    assert_int_equal(pipe2(in, O_CLOEXEC) | pipe2(out, O_CLOEXEC) | pipe2(err, O_CLOEXEC), 0);
    fflush(NULL);
    c->pid = fork();
    if (c->pid == 0) {
        dup2(in[0], 0);
        dup2(out[1], 1);
        dup2(err[1], 2);
        close(in[1]); /* there is no execve() that would */
        close(out[0]);
        close(err[0]);
        int code = cli_main(split(line));
        fflush(NULL);
        _exit(code);
    }
    close(in[0]);
    close(out[1]);
    close(err[1]);
    c->in = in[1];
    c->out = out[0];
    c->err = err[0];
    c->text_out[0] = c->text_err[0] = '\0';
}

static void take(int fd, char *text, size_t cap)
{
    size_t at = 0;
    ssize_t n;
    char chunk[4096];
    while ((n = read(fd, chunk, sizeof(chunk))) > 0) {
        size_t fits = (size_t)n < cap - 1 - at ? (size_t)n : cap - 1 - at;
        memcpy(text + at, chunk, fits);
        at += fits;
    }
    text[at] = '\0';
    close(fd);
}

/* Its exit code; -N when a signal ended it. */
static int finish(struct command *c)
{
    int status;
    if (c->in >= 0)
        close(c->in);
    take(c->out, c->text_out, sizeof(c->text_out));
    take(c->err, c->text_err, sizeof(c->text_err));
    assert_int_equal(waitpid(c->pid, &status, 0), c->pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

/* Runs to the end; checks the code and that stderr has `words`. */
static void expect(const char *line, int code, const char *words)
{
    struct command c;
    start(&c, line);
    int got = finish(&c);
    if (got != code || !strstr(c.text_err, words))
        fail_msg("'%s': code %d, not %d; stderr: %s", line, got, code, c.text_err);
}

static void exit_codes_follow_the_shell(void **state)
{
    (void)state;
    expect("cubby run -- exit 0", 0, "");
    expect("cubby run -- exit 7", 7, "");
    expect("cubby run -- exit 255", 255, "");
    expect("cubby run -- signal 9", 137, "");
    expect("cubby run -- timeout", 124, "took longer than its --timeout");
    expect("cubby run -- oom", 137, "ran out of memory");
    expect("cubby run -- missing", 127, "not found");
    expect("cubby run -- refused", 126, "not executable");
    expect("cubby run -- badformat", 126, "no program");
    expect("cubby run -- nouser", 125, "no such user");
}

static void limits_reach_the_command(void **state)
{
    (void)state;
    struct command c;
    start(&c, "cubby run --memory-limit 64M --pids-limit 100 --cpu-limit 1.5 --ulimit nofile=64:128 --ulimit "
              "core=1 "
              "--ulimit=stack=unlimited --ulimit core=0 -- limits");
    assert_int_equal(finish(&c), 0);
    assert_string_equal(c.text_out,
                        "67108864 100 1500\n7 64 128\n4 0 0\n3 18446744073709551615 18446744073709551615\n");
    assert_string_equal(c.text_err, "");
}

static void a_limit_that_was_hit_is_told(void **state)
{
    (void)state;
    expect("cubby run -- oom", 137, "the command was killed: the box ran out of memory");
    expect("cubby run --memory-limit 64M -- oom", 137,
           "the command was killed: it reached its --memory-limit of 64 MiB");
    expect("cubby run -- inner-oom", 3, "a process of the command was killed: the box");
    expect("cubby run --memory-limit 1G --memory 2G -- inner-oom", 3, "its --memory-limit of 1024 MiB");
    expect("cubby run --pids-limit 40 -- bomb", 2, "reached its --pids-limit of 40");
}

static void streams_come_back_apart_and_unchanged(void **state)
{
    (void)state;
    struct command c;
    start(&c, "cubby run -- say hello world");
    assert_int_equal(finish(&c), 0);
    assert_string_equal(c.text_out, "hello");
    assert_string_equal(c.text_err, "world");
}

static void stdin_is_passed_on_only_when_asked_for(void **state)
{
    (void)state;
    struct command c;
    start(&c, "cubby run -i -- cat");
    assert_int_equal(write(c.in, "some bytes", 10), 10);
    assert_int_equal(finish(&c), 0);
    assert_string_equal(c.text_out, "some bytes");
    start(&c, "cubby run -- env"); /* stays open, and nobody waits for it */
    int in = c.in;
    c.in = -1;
    assert_int_equal(finish(&c), 0);
    close(in);
}

static void the_environment_has_what_was_asked_for_and_no_more(void **state)
{
    (void)state;
    struct command c;
    char line[300], path[200];
    snprintf(path, sizeof(path), "%s/vars", place.root);
    FILE *f = fopen(path, "w");
    fputs("FROM_FILE=1\nBOTH=file\n", f);
    fclose(f);
    setenv("OURS", "mine", 1);
    snprintf(line, sizeof(line), "cubby run -e BOTH=option --env OURS --env-file %s -- env", path);
    start(&c, line);
    assert_int_equal(finish(&c), 0);
    assert_string_equal(c.text_out, "FROM_FILE=1\nBOTH=option\nOURS=mine\n");
}

static void mistakes_are_one_line_and_125(void **state)
{
    (void)state;
    static const struct {
        const char *line, *words;
    } cases[] = {
        {"cubby", "Usage: cubby COMMAND"},
        {"cubby rnu", "did you mean 'run'"},
        {"cubby frobnicate", "'cubby help' lists them"},
        {"cubby run", "no image and no command"},
        {"cubby run --pull never uname", "'uname' was taken for an image"},
        {"cubby run --pull never uname -- -a", "cubby run -- uname"},
        {"cubby run --", "no image and no command"},
        {"cubby run --rootfs /tmp image", "exclude each other"},
        {"cubby run --pull always -- true", "need an image"},
        {"cubby run --disk 1M -- true", "choose 16 to"},
        {"cubby image", "Usage: cubby image COMMAND"},
        {"cubby image inspekt", "did you mean 'inspect'"},
        {"cubby help image nosuch", "unknown command 'image nosuch'; 'cubby help image' lists them"},
        {"cubby images extra", "'extra' is too much"},
        {"cubby pull", "no image; as in"},
        {"cubby image rm", "no image is named"},
        {"cubby run --cpus 0 -- true", "choose 1 to 64"},
        {"cubby run --pids-limit 0 -- true", "--pids-limit: '0' is out of range; choose 1 to 4194304"},
        {"cubby run --pids-limit -1 -- true", "'-1' is not a number"},
        {"cubby run --memory-limit 0 -- true", "'0' is not a size"},
        {"cubby run --memory-limit 1G -- true", "--memory-limit is more than the box has"},
        {"cubby run --cpu-limit 0.001 -- true", "choose 0.01 to 64"},
        {"cubby run --cpu-limit half -- true", "'half' is not a number such as 2 or 0.5"},
        {"cubby run --ulimit nofile -- true", "'nofile' is not of the form NAME=SOFT[:HARD]"},
        {"cubby run --ulimit nofiles=1 -- true", "no limit is called 'nofiles'; there are as, core,"},
        {"cubby run --cpus 1000 -- true", "out of range"},
        {"cubby run --memory 1 -- true", "choose 32 to"},
        {"cubby run --timeout soon -- true", "not a duration"},
        {"cubby run --workdir relative -- true", "--workdir must start with '/'"},
        {"cubby run -it -- true", "needs a terminal"},
        {"cubby run --env =x -- true", "has no name"},
        {"cubby run --env-file /nonexistent -- true", "'/nonexistent'"},
        {"cubby run --rootfs /nonexistent -- true", "'/nonexistent'"},
        {"cubby run --rootfs /etc/passwd -- true", "not an ext4 image"},
        {"cubby run --kernel /tmp -- true", "is a folder"},
        {"cubby run --assets /nonexistent -- true", "make all"},
        {"cubby doctor extra", "'extra' is too much"},
        {"cubby version extra", "'extra' is too much"},
        {"cubby help frobnicate", "unknown command"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        expect(cases[i].line, 125, cases[i].words);
}

static void help_and_version_go_to_stdout(void **state)
{
    (void)state;
    static const struct {
        const char *line, *words;
    } cases[] = {
        {"cubby --help", "Commands:"},
        {"cubby help", "Commands:"},
        {"cubby help run", "--memory"},
        {"cubby run --help", "--memory"},
        {"cubby doctor -h", "--json"},
        {"cubby version", "cubby "},
        {"cubby image --help", "inspect"},
        {"cubby help image", "inspect"},
        {"cubby help image rm", "Removes images"},
        {"cubby --version", "cubby "},
        {"cubby version --help", "Usage"},
        {"cubby help --help", "Usage"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct command c;
        start(&c, cases[i].line);
        assert_int_equal(finish(&c), 0);
        assert_non_null(strstr(c.text_out, cases[i].words));
        assert_string_equal(c.text_err, "");
    }
}

static void a_box_that_does_not_boot_shows_its_console(void **state)
{
    (void)state;
    setenv("FAKE_VMM", "panic", 1);
    expect("cubby run -- true", 125, "the guest's kernel panicked: no init");
    expect("cubby run -- true", 125, "  | second line");
    setenv("FAKE_VMM", "silent", 1);
    expect("cubby run --boot-timeout 50ms -- true", 125, "not ready after 50 ms");
    setenv("FAKE_VMM", "setup", 1);
    expect("cubby run -- true", 125, "cannot open the kernel");
    setenv("FAKE_VMM", "kvm", 1);
    expect("cubby run -- true", 125, "cubby doctor");
}

static void a_guest_that_is_lost_is_told(void **state)
{
    (void)state;
    expect("cubby run -- crash", 125, "SIGKILL");
    expect("cubby run -- close", 125, "without a result");
    expect("cubby run -- violate unknown-type", 125, "broke the protocol");
}

/* Until the command runs: it says so on stdout. */
static void start_pouring(struct command *c)
{
    char byte;
    start(c, "cubby run -- pour");
    assert_int_equal(read(c->out, &byte, 1), 1);
}

static void signals_are_passed_on_and_end_the_command(void **state)
{
    (void)state;
    static const int signals[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2};
    for (size_t i = 0; i < ARRAY_LEN(signals); i++) {
        struct command c;
        start_pouring(&c);
        kill(c.pid, signals[i]);
        assert_int_equal(finish(&c), 128 + signals[i]);
    }
}

static void a_second_interrupt_ends_a_command_that_does_not_listen(void **state)
{
    (void)state;
    struct command c;
    char byte;
    start(&c, "cubby run -i -- cat"); /* the double's cat notes signals and goes on */
    assert_int_equal(write(c.in, "x", 1), 1);
    assert_int_equal(read(c.out, &byte, 1), 1);
    kill(c.pid, SIGINT);
    assert_int_equal(write(c.in, "y", 1), 1); /* it still runs */
    assert_int_equal(read(c.out, &byte, 1), 1);
    kill(c.pid, SIGINT);
    assert_int_equal(finish(&c), 130);
}

static void an_interrupt_before_the_command_runs_ends_at_once(void **state)
{
    (void)state;
    struct command c;
    setenv("FAKE_VMM", "silent", 1);
    start(&c, "cubby run -- true");
    for (int i = 0; i < 2000 && count_boxes(&place) == 0; i++)
        usleep(5000); /* a folder shows that its signals are in our hands */
    kill(c.pid, SIGINT);
    assert_int_equal(finish(&c), 130);
    assert_string_equal(c.text_err, "");
}

static void a_reader_who_leaves_gives_the_command_sigpipe(void **state)
{
    (void)state;
    struct command c;
    start_pouring(&c);
    close(c.out);
    c.out = open("/dev/null", O_RDONLY | O_CLOEXEC);
    assert_int_equal(finish(&c), 141);
}

static void a_stdout_that_takes_nothing_is_told(void **state)
{
    (void)state;
    struct command c;
    fflush(NULL);
    int err[2];
    assert_int_equal(pipe2(err, O_CLOEXEC), 0);
    c.pid = fork();
    if (c.pid == 0) {
        dup2(open("/dev/full", O_WRONLY), 1);
        dup2(err[1], 2);
        _exit(cli_main(split("cubby run -- say hello world")));
    }
    close(err[1]);
    c.in = -1;
    c.out = open("/dev/null", O_RDONLY | O_CLOEXEC);
    c.err = err[0];
    assert_int_equal(finish(&c), 125);
    assert_non_null(strstr(c.text_err, "cannot write to stdout: No space left"));
}

static void large_output_waits_for_a_slow_reader(void **state)
{
    (void)state;
    struct command c;
    static char chunk[65536];
    size_t total = 0;
    start(&c, "cubby run -- flood 5000000 0");
    for (ssize_t n; (n = read(c.out, chunk, total < 100000 ? 1000 : sizeof(chunk))) > 0; total += (size_t)n) {
        if (total < 100000)
            usleep(1000);
    }
    assert_int_equal(total, 5000000);
    assert_int_equal(finish(&c), 0);
}

/* Our pipes stay blocking for whoever shares them. */
static void the_callers_pipes_are_not_made_non_blocking(void **state)
{
    (void)state;
    struct command c;
    start_pouring(&c);
    assert_int_equal(fcntl(c.out, F_GETFL) & O_NONBLOCK, 0);
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/fdinfo/1", (int)c.pid);
    FILE *f = fopen(path, "r");
    unsigned flags = 0;
    char line[128];
    while (f && fgets(line, sizeof(line), f)) {
        if (sscanf(line, "flags: %o", &flags) == 1)
            break;
    }
    if (f)
        fclose(f);
    assert_int_equal(flags & O_NONBLOCK, 0);
    kill(c.pid, SIGTERM);
    finish(&c);
}

static void the_timeline_is_a_table_or_a_file(void **state)
{
    (void)state;
    char line[300], path[200], text[4096] = "";
    expect("cubby run --timeline - -- exit 0", 0, "user-space exits until ready: 7 (mmio 4, io 3)");
    expect("cubby run --timeline - -- exit 3", 3, "exec-result");
    snprintf(path, sizeof(path), "%s/timeline.json", place.root);
    snprintf(line, sizeof(line), "cubby run --timeline %s -- exit 0", path);
    expect(line, 0, "");
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    size_t n = fread(text, 1, sizeof(text) - 1, f);
    fclose(f);
    text[n] = '\0';
    assert_non_null(strstr(text, "\"exec-result\""));
    expect("cubby run --timeline /nonexistent/file -- exit 0", 125, "cannot write the timeline");
}

static void doctor_tells_by_its_exit_code(void **state)
{
    (void)state;
    struct command c;
    start(&c, "cubby doctor");
    assert_int_equal(finish(&c), 0);
    assert_non_null(strstr(c.text_out, "This host can run boxes."));
    setenv("FAKE_PROBE", "unusable", 1);
    start(&c, "cubby doctor");
    assert_int_equal(finish(&c), 1);
    assert_non_null(strstr(c.text_out, "FAIL  guest-iretq: cannot iretq\n      try: use another host"));
    start(&c, "cubby doctor --json");
    assert_int_equal(finish(&c), 1);
    assert_non_null(strstr(c.text_out, "\"usable\": false"));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(int argc, char **argv)
{
    (void)argc;
    if (is_fake_vmm(argv)) {
        int code = fake_vmm_main(argv);
        fflush(NULL);
        _exit(code);
    }
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        TEST(exit_codes_follow_the_shell),
        TEST(limits_reach_the_command),
        TEST(a_limit_that_was_hit_is_told),
        TEST(streams_come_back_apart_and_unchanged),
        TEST(stdin_is_passed_on_only_when_asked_for),
        TEST(the_environment_has_what_was_asked_for_and_no_more),
        TEST(mistakes_are_one_line_and_125),
        TEST(help_and_version_go_to_stdout),
        TEST(a_box_that_does_not_boot_shows_its_console),
        TEST(a_guest_that_is_lost_is_told),
        TEST(signals_are_passed_on_and_end_the_command),
        TEST(a_second_interrupt_ends_a_command_that_does_not_listen),
        TEST(an_interrupt_before_the_command_runs_ends_at_once),
        TEST(a_reader_who_leaves_gives_the_command_sigpipe),
        TEST(a_stdout_that_takes_nothing_is_told),
        TEST(large_output_waits_for_a_slow_reader),
        TEST(the_callers_pipes_are_not_made_non_blocking),
        TEST(the_timeline_is_a_table_or_a_file),
        TEST(doctor_tells_by_its_exit_code),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
