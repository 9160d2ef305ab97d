/* SPDX-License-Identifier: Apache-2.0 */
/* The command line: what each flag does, and what is said of a bad one. */
#include "base/io.h"
#include "vmm/options.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define ARGS_MAX 64

/* Parses "a b c" as `cubby-vmm a b c`; ~ stands for a space within a word. */
static int parse(struct options *o, struct err *e, const char *line)
{
    static char copy[1024];
    char *argv[ARGS_MAX] = {"cubby-vmm"};
    int argc = 1;
    snprintf(copy, sizeof(copy), "%s", line);
    for (char *word = strtok(copy, " "); word; word = strtok(NULL, " ")) {
        for (char *p = word; (p = strchr(p, '~'));)
            *p = ' ';
        argv[argc++] = word;
    }
    memset(e, 0, sizeof(*e));
    return options_parse(o, argc, argv, e);
}

static void expect_error(const char *line, const char *words)
{
    struct options o;
    struct err e;
    int r = parse(&o, &e, line);
    if (r >= 0 || !strstr(e.text, words))
        fail_msg("'%s' gives %d '%s', which lacks '%s'", line, r, e.text, words);
    options_fini(&o);
}

static void defaults(void **state)
{
    (void)state;
    struct options o;
    struct err e;
    assert_int_equal(parse(&o, &e, "--kernel k"), 0);
    assert_int_equal(o.action, ACTION_RUN);
    assert_string_equal(o.config.kernel, "k");
    assert_null(o.config.initrd);
    assert_int_equal(o.config.cpus, 1);
    assert_int_equal(o.config.memory_mib, 256);
    assert_int_equal(o.config.console_ports, 1);
    assert_int_equal(o.config.die_with, -1);
    assert_int_equal(o.config.ndisks, 0);
    assert_false(o.config.serial);
    char *line = config_cmdline(&o.config);
    assert_string_equal(line, VM_CMDLINE_DEFAULT);
    free(line);
    options_fini(&o);
    options_fini(&o);
}

static void every_flag(void **state)
{
    (void)state;
    struct options o;
    struct err e;
    int r = parse(&o, &e,
                  "--kernel k --initrd i --cmdline a~b --boot pvh --cpus 4 --memory 512 --disk a --disk b,ro "
                  "--disk c,serial=S,ro --vsock v,cid=7 --console c --console-ports 2 --serial --timeline t "
                  "--events 3 --die-with 4");
    assert_int_equal(r, 0);
    const struct vm_config *c = &o.config;
    assert_string_equal(c->initrd, "i");
    assert_string_equal(c->cmdline, "a b");
    assert_string_equal(c->boot, "pvh");
    assert_int_equal(c->cpus, 4);
    assert_int_equal(c->memory_mib, 512);
    assert_int_equal(c->ndisks, 3);
    assert_string_equal(c->disk[0].path, "a");
    assert_false(c->disk[0].read_only);
    assert_true(c->disk[1].read_only);
    assert_null(c->disk[1].serial);
    assert_string_equal(c->disk[2].path, "c");
    assert_string_equal(c->disk[2].serial, "S");
    assert_true(c->disk[2].read_only);
    assert_string_equal(c->vsock_path, "v");
    assert_int_equal(c->vsock_cid, 7);
    assert_string_equal(c->console, "c");
    assert_int_equal(c->console_ports, 2);
    assert_true(c->serial);
    assert_string_equal(c->timeline, "t");
    assert_string_equal(c->events, "3");
    assert_int_equal(c->die_with, 4);
    options_fini(&o);
}

static void equals_sign_and_last_one_wins(void **state)
{
    (void)state;
    struct options o;
    struct err e;
    assert_int_equal(parse(&o, &e, "--kernel=a --kernel b --cpus=2 --cmdline="), 0);
    assert_string_equal(o.config.kernel, "b");
    assert_int_equal(o.config.cpus, 2);
    assert_string_equal(o.config.cmdline, ""); /* an empty command line is one */
    options_fini(&o);
}

static void actions_need_no_kernel(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        enum action action;
        bool json;
    } cases[] = {
        {"--help", ACTION_HELP, false},         {"-h", ACTION_HELP, false},
        {"--version", ACTION_VERSION, false},   {"--probe", ACTION_PROBE, false},
        {"--probe --json", ACTION_PROBE, true},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct options o;
        struct err e;
        assert_int_equal(parse(&o, &e, cases[i].line), 0);
        assert_int_equal(o.action, cases[i].action);
        assert_int_equal(o.json, cases[i].json);
        options_fini(&o);
    }
}

static void bad_values_are_named(void **state)
{
    (void)state;
    expect_error("", "no kernel was given");
    expect_error("--kernel k --cpus 0", "0 vCPUs are not possible: choose 1 to 64");
    expect_error("--kernel k --cpus 1000", "1000 vCPUs");
    expect_error("--kernel k --cpus -1", "--cpus: '-1'");
    expect_error("--kernel k --cpus two", "--cpus: 'two'");
    expect_error("--kernel k --cpus 2x", "--cpus: '2x'");
    expect_error("--kernel k --cpus 99999999999999999999", "--cpus: '99999999999999999999'");
    expect_error("--kernel k --memory 1", "1 MiB of memory are too little: a guest needs at least 32 MiB");
    expect_error("--kernel k --memory 31", "31 MiB");
    expect_error("--kernel k --memory", "--memory needs a value");
    expect_error("--kernel k --console-ports 4", "4 console ports");
    expect_error("--kernel k --console-ports 0", "0 console ports");
    expect_error("--kernel k --disk a,rw", "'rw' in 'a,rw' is not known");
    expect_error("--kernel k --disk ,ro", "has no path");
    expect_error("--kernel k --vsock v,cid=x", "--vsock: 'x'");
    expect_error("--kernel k --vsock ,cid=3", "--vsock: an empty value");
    expect_error("--kernel k --die-with -1", "--die-with: '-1'");
    expect_error("--kernel=", "--kernel: an empty value");
    expect_error("--kernel k --nonsense", "unknown or ambiguous option '--nonsense'");
    expect_error("--kernel k -x", "unknown or ambiguous option '-x'");
    expect_error("--kernel k --con c", "unknown or ambiguous option '--con'");
    expect_error("--kernel k stray", "'stray' is not an option");
    expect_error("--kernel k --config /nonexistent/file", "/nonexistent/file");
}

static void disks_are_bounded(void **state)
{
    (void)state;
    char line[1024] = "--kernel k";
    for (int i = 0; i <= VM_DISKS_MAX; i++)
        strcat(line, " --disk d");
    expect_error(line, "is one too many");
}

static void flags_override_the_file_wherever_they_stand(void **state)
{
    (void)state;
    char path[] = "/tmp/cubby-options-XXXXXX", line[256];
    static const char text[] =
        "{\"boot-source\": {\"kernel_image_path\": \"from-file\", \"boot_args\": \"x\"},"
        " \"machine-config\": {\"vcpu_count\": 3, \"mem_size_mib\": 64}}";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write_full(fd, text, sizeof(text) - 1), 0);
    close(fd);
    struct options o;
    struct err e;
    snprintf(line, sizeof(line), "--cpus 2 --config %s --memory 99", path);
    assert_int_equal(parse(&o, &e, line), 0);
    assert_string_equal(o.config.kernel, "from-file");
    assert_string_equal(o.config.cmdline, "x");
    assert_int_equal(o.config.cpus, 2);
    assert_int_equal(o.config.memory_mib, 99);
    options_fini(&o);
    unlink(path);
}

static void help_names_every_flag(void **state)
{
    (void)state;
    static const char *const flags[] = {
        "--kernel", "--initrd",  "--cmdline", "--boot",     "--cpus",          "--memory", "--disk",
        "--vsock",  "--console", "--serial",  "--timeline", "--console-ports", "--events", "--die-with",
        "--config", "--probe",   "--json",    "--version",  "--help",
    };
    char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);
    assert_non_null(f);
    options_help(f);
    fclose(f);
    for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
        assert_non_null(strstr(text, flags[i]));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults),
        cmocka_unit_test(every_flag),
        cmocka_unit_test(equals_sign_and_last_one_wins),
        cmocka_unit_test(actions_need_no_kernel),
        cmocka_unit_test(bad_values_are_named),
        cmocka_unit_test(disks_are_bounded),
        cmocka_unit_test(flags_override_the_file_wherever_they_stand),
        cmocka_unit_test(help_names_every_flag),
    };
    return cmocka_run_group_tests_name("options", tests, NULL, NULL);
}
