/* SPDX-License-Identifier: Apache-2.0 */
/* Executions through the agent, natively: what a client sees of commands, streams, ends and failures. */
#include "tests/guest-init/client.h"

static struct served served;
static struct outcome o;

static int set_up(void **state)
{
    (void)state;
    alarm(TEST_DEADLINE_S);
    serve_start(&served, true);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    return serve_stop(&served);
}

static void streams_and_exit_code_are_kept_apart(void **state)
{
    (void)state;
    run_sh(&served, "echo out; echo err >&2; exit 7", &o);
    assert_true(o.started && o.exited && o.out_eof && o.err_eof);
    assert_string_equal(o.out, "out\n");
    assert_string_equal(o.err, "err\n");
    assert_int_equal(o.exit.how, HOW_EXITED);
    assert_int_equal(o.exit.code, 7);
    assert_int_equal(o.exit.flags, 0);
    assert_true(o.exit.wall_ns > 0 && o.exit.max_rss > 0);
}

/* The same wishes, with one thing changed, are most of the tests. */
static struct exec_request shell(const char *script)
{
    static const char *argv[] = {"sh", "-c", NULL, NULL};
    argv[2] = script;
    return request_of(argv);
}

static void every_exit_code_arrives_as_it_is(void **state)
{
    (void)state;
    for (int code = 0; code < 256; code++) {
        char script[32];
        snprintf(script, sizeof(script), "exit %d", code);
        run_sh(&served, script, &o);
        assert_int_equal(o.exit.how, HOW_EXITED);
        assert_int_equal(o.exit.code, code);
        assert_int_equal(o.exit.signo, 0);
    }
}

static void a_signal_that_ends_it_is_named(void **state)
{
    (void)state;
    /* All but those that stop a process, or do nothing to it. */
    static const int harmless[] = {SIGCHLD, SIGCONT, SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU, SIGURG, SIGWINCH};
    for (int signo = 1; signo <= 64; signo++) {
        char script[32];
        bool ends = true;
        for (size_t i = 0; i < ARRAY_LEN(harmless); i++)
            ends = ends && signo != harmless[i];
        if (!ends)
            continue;
        snprintf(script, sizeof(script), "kill -%d $$; sleep 1000", signo);
        run_sh(&served, script, &o);
        assert_int_equal(o.exit.how, HOW_SIGNALED);
        assert_int_equal(o.exit.signo, signo);
        assert_int_equal(o.exit.code, 0);
    }
}

static void unwanted_streams_are_dev_null(void **state)
{
    (void)state;
    struct exec_request q = shell("cat; echo out; echo err >&2; ls -l /proc/self/fd/0 | grep -q /dev/null");
    q.flags = 0;
    run(&served, &q, &o);
    assert_int_equal(o.exit.code, 0);
    assert_int_equal(o.out_len + o.err_len, 0);
    assert_false(o.out_eof || o.err_eof || o.in_eof);
}

static void environment_is_the_request_and_defaults(void **state)
{
    (void)state;
    static const char *const env[] = {"A=1", "B=x y=z", "EMPTY=", NULL};
    struct exec_request q = shell("echo \"$A|$B|$EMPTY|$PATH|$HOME|${TERM-none}\"");
    q.envp = env;
    run(&served, &q, &o);
    assert_string_equal(o.out,
                        "1|x y=z||/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin|/root|none\n");
}

static void path_of_the_request_finds_the_command(void **state)
{
    (void)state;
    static const char *const argv[] = {"true", NULL};
    static const char *const env[] = {"PATH=/nowhere:/also/nowhere", NULL};
    struct exec_request q = request_of(argv);
    run(&served, &q, &o);
    assert_true(o.exited);
    q.envp = env;
    run(&served, &q, &o);
    assert_true(o.error);
    assert_int_equal(o.why.stage, STAGE_LOOKUP);
    assert_int_equal(o.why.errnum, ENOENT);
    assert_string_equal(o.why.text, "command 'true' not found in PATH=/nowhere:/also/nowhere");
}

static void working_directory_is_entered(void **state)
{
    (void)state;
    struct exec_request q = shell("pwd");
    run(&served, &q, &o);
    assert_string_equal(o.out, "/\n");
    q.cwd = "/usr/bin";
    run(&served, &q, &o);
    assert_string_equal(o.out, "/usr/bin\n");
}

static void limits_of_resources_are_set(void **state)
{
    (void)state;
    struct exec_request q = shell("ulimit -Sn; ulimit -Hn; ulimit -c");
    q.rlimit[0] = (struct exec_rlimit){7 /* RLIMIT_NOFILE */, 100, 200};
    q.rlimit[1] = (struct exec_rlimit){4 /* RLIMIT_CORE */, 0, 0};
    q.rlimit_count = 2;
    run(&served, &q, &o);
    assert_string_equal(o.out, "100\n200\n0\n");
}

/* --- spawn failures: each with its stage --- */

static void expect_error(const struct exec_request *q, enum error_stage stage, int errnum, const char *text)
{
    run(&served, q, &o);
    assert_true(o.error && !o.started && !o.exited);
    assert_string_equal(error_stage_name(o.why.stage), error_stage_name((uint16_t)stage));
    assert_int_equal(o.why.errnum, errnum);
    if (!strstr(o.why.text, text))
        fail_msg("'%s' does not say '%s'", o.why.text, text);
}

static void expect_command_error(const char *command, enum error_stage stage, int errnum, const char *text)
{
    const char *argv[] = {command, NULL};
    struct exec_request q = request_of(argv);
    expect_error(&q, stage, errnum, text);
}

static void make_file(char *path, size_t cap, const char *name, const char *data, size_t len, mode_t mode)
{
    snprintf(path, cap, "%s/%s", served.dir, name);
    struct err e;
    assert_int_equal(write_file_atomic(path, data, len, mode, &e), 0);
    assert_int_equal(chmod(path, mode), 0);
}

static void a_command_that_cannot_be_run_says_why(void **state)
{
    (void)state;
    char path[128], text[64] = "\177ELF\2\1\1";
    expect_command_error("nosuch", STAGE_LOOKUP, ENOENT, "command 'nosuch' not found in PATH=");
    expect_command_error("", STAGE_LOOKUP, ENOENT, "command '' not found");
    expect_command_error("/no/such", STAGE_LOOKUP, ENOENT, "'/no/such' not found: No such file");
    expect_command_error("/etc", STAGE_LOOKUP, EACCES, "is a folder");
    expect_command_error("/etc/passwd", STAGE_LOOKUP, EACCES, "may not be executed");

    make_file(path, sizeof(path), "script", "#!/no/interpreter -x\n", 21, 0755);
    expect_command_error(path, STAGE_EXECVE, ENOENT, "interpreter '/no/interpreter' of script");
    unlink(path);
    make_file(path, sizeof(path), "text", "hello\n", 6, 0755);
    expect_command_error(path, STAGE_EXECVE, ENOEXEC, "neither a program nor a script");
    unlink(path);
    make_file(path, sizeof(path), "elf", text, sizeof(text), 0755);
    expect_command_error(path, STAGE_EXECVE, ENOEXEC, "another architecture");
    unlink(path);
    make_file(path, sizeof(path), "empty", "", 0, 0755);
    expect_command_error(path, STAGE_EXECVE, ENOEXEC, "neither a program nor a script");
    unlink(path);
    run_sh(&served, "nosuch", &o); /* the shell's own 127 is a result, not an error */
    assert_int_equal(o.exit.code, 127);
}

static void user_and_folder_that_do_not_exist_are_errors(void **state)
{
    (void)state;
    struct exec_request q = shell("true");
    q.user = "nobody-of-that-name";
    expect_error(&q, STAGE_USER, ENOENT, "user 'nobody-of-that-name' is not in the image's /etc/passwd");
    q.user = "root:no-such-group";
    expect_error(&q, STAGE_USER, ENOENT, "group 'no-such-group' is not in the image's /etc/group");
    q.user = ":";
    expect_error(&q, STAGE_USER, EINVAL, "is not name|uid[:group|gid]");
    q.user = NULL;
    q.cwd = "/no/such/folder";
    expect_error(&q, STAGE_CWD, ENOENT, "cannot enter the working directory '/no/such/folder'");
    q.cwd = "/etc/passwd";
    expect_error(&q, STAGE_CWD, ENOTDIR, "/etc/passwd");
}

static void a_limit_that_the_kernel_refuses_is_an_error(void **state)
{
    (void)state;
    struct exec_request q = shell("true");
    q.rlimit[0] = (struct exec_rlimit){7, UINT64_C(1) << 40, UINT64_C(1) << 40};
    q.rlimit_count = 1;
    expect_error(&q, STAGE_RLIMIT, EPERM, "cannot limit resource 7");
}

static void another_user_has_ids_groups_and_home_of_the_files(void **state)
{
    (void)state;
    if (getuid() != 0)
        skip();
    struct exec_request q = shell("id -u; id -g; id -G; echo $HOME");
    q.user = "12345:54321";
    run(&served, &q, &o);
    assert_string_equal(o.out, "12345\n54321\n54321\n/\n");
    q.user = "12345";
    run(&served, &q, &o);
    assert_string_equal(o.out, "12345\n0\n0\n/\n");
    q.user = "daemon"; /* 1 on every Linux */
    run(&served, &q, &o);
    assert_string_equal(o.out, "1\n1\n1\n/usr/sbin\n");
    q.user = "daemon:12";
    q.cwd = "/root";
    if (access("/root", X_OK) == 0)
        run(&served, &q, &o); /* refused as the user would be, when /root is closed to others */
}

static void a_missing_working_directory_is_made_when_asked_for(void **state)
{
    (void)state;
    char top[] = "/tmp/cubby-test-cwd-XXXXXX", cwd[64];
    assert_non_null(mkdtemp(top));
    snprintf(cwd, sizeof(cwd), "%s/one//two/", top);
    struct exec_request q = shell("pwd; stat -c %a . ..; rmdir ../two ../../one");
    q.cwd = cwd;
    run(&served, &q, &o);
    expect_error(&q, STAGE_CWD, ENOENT, "cannot enter");
    q.flags |= EXEC_MAKE_CWD;
    run(&served, &q, &o);
    snprintf(cwd, sizeof(cwd), "%s/one/two\n755\n755\n", top);
    assert_string_equal(o.out, cwd);
    q.cwd = "/dev/null/no";
    run(&served, &q, &o);
    expect_error(&q, STAGE_CWD, ENOTDIR, "cannot make");
    rmdir(top);
}

/* --- ends --- */

static void after_a_timeout_nothing_of_the_tree_is_left(void **state)
{
    (void)state;
    struct exec_request q = shell("sleep 1000 & (setsid sleep 1000 &); echo $$; exec sleep 1000");
    q.timeout_ms = 300;
    run(&served, &q, &o);
    assert_int_equal(o.exit.how, HOW_TIMED_OUT);
    assert_int_equal(o.exit.signo, SIGTERM);
    assert_false(o.exit.flags & (EXIT_GRACE_EXPIRED | EXIT_KILLED));
    if (served.box_group >= 0)
        assert_int_equal(o.exit.flags, 0);
    assert_true(o.exit.wall_ns >= 290 * NSEC_PER_MSEC);
    assert_int_equal(kill((pid_t)o.start.pid, 0), -1);
}

static void who_ignores_sigterm_is_killed_after_the_grace(void **state)
{
    (void)state;
    struct exec_request q =
        shell("trap '' TERM; (trap '' TERM; sleep 1000) & echo up; sleep 1000; sleep 1000");
    q.timeout_ms = 200;
    q.grace_ms = 300;
    run(&served, &q, &o);
    assert_string_equal(o.out, "up\n");
    assert_int_equal(o.exit.how, HOW_TIMED_OUT);
    assert_int_equal(o.exit.signo, SIGKILL);
    assert_true(o.exit.flags & EXIT_GRACE_EXPIRED);
    assert_true(o.exit.wall_ns >= 490 * NSEC_PER_MSEC);
}

static void a_timeout_reaches_a_stopped_process(void **state)
{
    (void)state;
    struct exec_request q = shell("kill -STOP $$");
    q.timeout_ms = 200;
    q.grace_ms = 60000; /* not needed: SIGCONT lets it see the SIGTERM */
    run(&served, &q, &o);
    assert_int_equal(o.exit.how, HOW_TIMED_OUT);
    assert_int_equal(o.exit.signo, SIGTERM);
}

static void a_timeout_sends_the_stop_signal_that_was_asked_for(void **state)
{
    (void)state;
    struct exec_request q = shell("trap 'echo term; exit 1' TERM; trap 'echo quit; exit 7' QUIT; echo up;"
                                  "while :; do sleep 0.05; done");
    q.timeout_ms = 300;
    q.grace_ms = 60000;
    q.stop_signal = SIGQUIT;
    run(&served, &q, &o);
    assert_string_equal(o.out, "up\nquit\n");
    assert_int_equal(o.exit.how, HOW_TIMED_OUT);
    assert_int_equal(o.exit.code, 7);
}

static void a_command_that_ends_in_time_is_not_timed_out(void **state)
{
    (void)state;
    struct exec_request q = shell("exit 3");
    q.timeout_ms = 30000;
    run(&served, &q, &o);
    assert_int_equal(o.exit.how, HOW_EXITED);
    assert_int_equal(o.exit.code, 3);
}

static void kill_takes_the_tree(void **state)
{
    (void)state;
    struct client c;
    struct exec_request q = shell("trap '' TERM HUP; sleep 1000 & (setsid sleep 1000 &); echo up; wait");
    begin(&c, &served, &q, &o);
    struct frame f;
    while (!o.out_len && client_next(&c, &f))
        outcome_note(&c, &o, &f);
    client_kill(&c);
    client_finish(&c, &o);
    assert_int_equal(o.exit.how, HOW_SIGNALED);
    assert_int_equal(o.exit.signo, SIGKILL);
    assert_true(o.exit.flags & EXIT_KILLED);
    if (served.box_group >= 0)
        assert_false(o.exit.flags & EXIT_LEFTOVER);
}

static void a_signal_reaches_the_leader_or_the_tree(void **state)
{
    (void)state;
    static const struct {
        enum signal_scope scope;
        const char *seen;
    } cases[] = {{SCOPE_LEADER, "leader\n"}, {SCOPE_TREE, "child\nleader\n"}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct client c;
        struct exec_request q =
            shell("trap 'sleep 0.3; echo leader; kill -9 $child 2>/dev/null; exit 5' USR1;"
                  "sh -c 'trap \"echo child; exit\" USR1; echo; while :; do sleep 0.05; done' & child=$!;"
                  "while :; do sleep 0.05; done");
        begin(&c, &served, &q, &o);
        struct frame f;
        while (!o.out_len && client_next(&c, &f))
            outcome_note(&c, &o, &f);
        client_signal(&c, SIGUSR1, cases[i].scope);
        client_finish(&c, &o);
        assert_string_equal(o.out, i == 0 ? "\nleader\n" : "\nchild\nleader\n");
        assert_int_equal(o.exit.code, 5);
    }
}

static void children_left_behind_do_not_delay_the_result(void **state)
{
    (void)state;
    run_sh(&served, "sleep 1000 & echo done", &o);
    assert_string_equal(o.out, "done\n");
    assert_int_equal(o.exit.how, HOW_EXITED);
    assert_int_equal(o.exit.code, 0);
    assert_int_equal(o.exit.flags, EXIT_LEFTOVER | EXIT_OUTPUT_CUT);
}

static void all_that_the_leader_wrote_comes_however_late_it_is_taken(void **state)
{
    (void)state;
    struct client c;
    struct exec_request q = shell("sleep 1000 & head -c 50000 /dev/zero");
    q.window_out = 0;
    begin(&c, &served, &q, &o);
    client_started(&c, &o);
    usleep(300000); /* longer than the grace for those who hold the pipe */
    client_credit(&c, STREAM_STDOUT, 50000);
    client_finish(&c, &o);
    assert_int_equal(o.out_len, 50000);
    assert_int_equal(o.exit.flags, EXIT_LEFTOVER | EXIT_OUTPUT_CUT);
}

static void a_client_that_leaves_takes_its_tree_along(void **state)
{
    (void)state;
    struct client c;
    struct exec_request q = shell("trap '' HUP TERM PIPE; echo $$; sleep 1000");
    begin(&c, &served, &q, &o);
    client_started(&c, &o);
    client_close(&c);
    await_death((pid_t)o.start.pid);
}

static void many_executions_at_once_are_kept_apart(void **state)
{
    (void)state;
    enum { N = 256 };
    static struct client clients[N];
    for (int i = 0; i < N; i++) {
        char script[64];
        snprintf(script, sizeof(script), "read x; echo %d; exit %d", i, i % 256);
        struct exec_request q = shell(script);
        q.flags |= EXEC_STDIN;
        client_connect(&clients[i], &served);
        client_hello(&clients[i]);
        client_exec(&clients[i], &q);
    }
    for (int i = N - 1; i >= 0; i--) {
        char expected[16];
        memset(&o, 0, sizeof(o));
        client_stdin_eof(&clients[i]);
        client_finish(&clients[i], &o);
        snprintf(expected, sizeof(expected), "%d\n", i);
        assert_string_equal(o.out, expected);
        assert_int_equal(o.exit.code, i % 256);
    }
}

static int set_up_without_groups(void **state)
{
    (void)state;
    alarm(TEST_DEADLINE_S);
    serve_start(&served, false);
    return 0;
}

static void without_control_groups_limits_are_refused(void **state)
{
    (void)state;
    struct exec_request q = shell("true");
    q.memory_max = 1u << 30;
    expect_error(&q, STAGE_UNSUPPORTED, ENOTSUP, "control groups");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(streams_and_exit_code_are_kept_apart),
        cmocka_unit_test(every_exit_code_arrives_as_it_is),
        cmocka_unit_test(a_signal_that_ends_it_is_named),
        cmocka_unit_test(unwanted_streams_are_dev_null),
        cmocka_unit_test(environment_is_the_request_and_defaults),
        cmocka_unit_test(path_of_the_request_finds_the_command),
        cmocka_unit_test(working_directory_is_entered),
        cmocka_unit_test(limits_of_resources_are_set),
        cmocka_unit_test(a_command_that_cannot_be_run_says_why),
        cmocka_unit_test(user_and_folder_that_do_not_exist_are_errors),
        cmocka_unit_test(a_limit_that_the_kernel_refuses_is_an_error),
        cmocka_unit_test(another_user_has_ids_groups_and_home_of_the_files),
        cmocka_unit_test(a_missing_working_directory_is_made_when_asked_for),
        cmocka_unit_test(after_a_timeout_nothing_of_the_tree_is_left),
        cmocka_unit_test(who_ignores_sigterm_is_killed_after_the_grace),
        cmocka_unit_test(a_timeout_reaches_a_stopped_process),
        cmocka_unit_test(a_timeout_sends_the_stop_signal_that_was_asked_for),
        cmocka_unit_test(a_command_that_ends_in_time_is_not_timed_out),
        cmocka_unit_test(kill_takes_the_tree),
        cmocka_unit_test(a_signal_reaches_the_leader_or_the_tree),
        cmocka_unit_test(children_left_behind_do_not_delay_the_result),
        cmocka_unit_test(all_that_the_leader_wrote_comes_however_late_it_is_taken),
        cmocka_unit_test(a_client_that_leaves_takes_its_tree_along),
        cmocka_unit_test(many_executions_at_once_are_kept_apart),
    };
    /* Where a machine has no control groups for us, process groups stand in. */
    const struct CMUnitTest without_groups[] = {
        cmocka_unit_test(streams_and_exit_code_are_kept_apart),
        cmocka_unit_test(who_ignores_sigterm_is_killed_after_the_grace),
        cmocka_unit_test(children_left_behind_do_not_delay_the_result),
        cmocka_unit_test(a_client_that_leaves_takes_its_tree_along),
        cmocka_unit_test(without_control_groups_limits_are_refused),
    };
    int failed = cmocka_run_group_tests(tests, set_up, tear_down);
    return failed + cmocka_run_group_tests(without_groups, set_up_without_groups, tear_down);
}
