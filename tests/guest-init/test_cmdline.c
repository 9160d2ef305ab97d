/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel's command line as PID 1 reads it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/own.h"
#include "guest-init/cmdline.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static struct boot_config c;

static void without_keys_there_are_defaults(void **state)
{
    (void)state;
    assert_int_equal(cmdline_parse("console=hvc0 quiet panic=-1 reboot=t\n", &c, NULL), 0);
    assert_string_equal(c.root, "");
    assert_string_equal(c.root_type, "ext4");
    assert_string_equal(c.upper, "");
    assert_string_equal(c.hostname, "cubby");
    assert_false(c.root_rw);
    assert_int_equal(cmdline_parse("", &c, NULL), 0);
}

static void every_key_fills_its_field(void **state)
{
    (void)state;
    const char *line = "quiet cubby.root=/dev/vda  cubby.rootfstype=erofs\tcubby.upper=/dev/vdb "
                       "cubby.hostname=box-1.local cubby.log=info,exec=debug x=cubby.root=/dev/no";
    assert_int_equal(cmdline_parse(line, &c, NULL), 0);
    assert_string_equal(c.root, "/dev/vda");
    assert_string_equal(c.root_type, "erofs");
    assert_string_equal(c.upper, "/dev/vdb");
    assert_string_equal(c.hostname, "box-1.local");
    assert_string_equal(c.log, "info,exec=debug");
    assert_int_equal(cmdline_parse("cubby.root=/dev/vda cubby.rw", &c, NULL), 0);
    assert_true(c.root_rw);
}

static void the_upper_layer_is_a_disk_or_a_tmpfs(void **state)
{
    (void)state;
    static const char *const sizes[] = {"1", "64m", "2G", "50%", "100k"};
    assert_int_equal(cmdline_parse("cubby.upper=/dev/vdb cubby.upper=tmpfs", &c, NULL), 0);
    assert_string_equal(c.upper, "");
    assert_string_equal(c.upper_size, "");
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        char line[64];
        snprintf(line, sizeof(line), "cubby.upper=tmpfs:%s", sizes[i]);
        assert_int_equal(cmdline_parse(line, &c, NULL), 0);
        assert_string_equal(c.upper_size, sizes[i]);
    }
    assert_int_equal(cmdline_parse("cubby.upper=tmpfs:1 cubby.upper=/dev/vdb", &c, NULL), 0);
    assert_string_equal(c.upper, "/dev/vdb");
    assert_string_equal(c.upper_size, "");
}

static void quotes_and_the_end_mark_are_the_kernels(void **state)
{
    (void)state;
    assert_int_equal(
        cmdline_parse("x=\"a cubby.root=/dev/vdc b\" cubby.root=\"/dev/vda\" -- cubby.root=/dev/vdd", &c,
                      NULL),
        0);
    assert_string_equal(c.root, "/dev/vda");
}

static void what_is_not_understood_is_an_error(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "cubby.rot=/dev/vda",
        "cubby.root",
        "cubby.root=",
        "cubby.root=vda",
        "cubby.root=/dev/",
        "cubby.root=/dev/../etc/passwd",
        "cubby.rootfstype=",
        "cubby.rootfstype=averyveryverylongtype",
        "cubby.rootfstype=ext4,x",
        "cubby.upper=",
        "cubby.upper=ramfs",
        "cubby.upper=tmpfs:",
        "cubby.upper=tmpfs:5x",
        "cubby.upper=tmpfs:5mm",
        "cubby.upper=tmpfs:m",
        "cubby.upper=tmpfs:1,mode=777",
        "cubby.upper=tmpfs:111111111111111111111111111111111",
        "cubby.hostname=",
        "cubby.hostname=a/b",
        "cubby.log=",
        "cubby.rw=1",
        "cubby.",
        "cubby.rw",
    };
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        struct err e = {0};
        if (cmdline_parse(lines[i], &c, &e) != -EINVAL)
            fail_msg("'%s' was taken", lines[i]);
        assert_non_null(strstr(e.text, "command line"));
    }
}

static void long_values_and_words_are_refused_not_cut(void **state)
{
    (void)state;
    char line[CMDLINE_MAX + 200];
    memset(line, 'x', sizeof(line));
    memcpy(line, "cubby.root=/dev/", 16);
    line[16 + CMDLINE_VALUE_MAX] = '\0';
    assert_int_equal(cmdline_parse(line, &c, NULL), -EINVAL);
    line[11 + CMDLINE_VALUE_MAX - 1] = '\0';
    assert_int_equal(cmdline_parse(line, &c, NULL), 0);
    assert_int_equal(strlen(c.root), CMDLINE_VALUE_MAX - 1);
    memset(line, 'x', sizeof(line));
    memcpy(line, "cubby.hostname=", 15);
    line[sizeof(line) - 1] = '\0';
    assert_int_equal(cmdline_parse(line, &c, NULL), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_keys_there_are_defaults),
        cmocka_unit_test(every_key_fills_its_field),
        cmocka_unit_test(the_upper_layer_is_a_disk_or_a_tmpfs),
        cmocka_unit_test(quotes_and_the_end_mark_are_the_kernels),
        cmocka_unit_test(what_is_not_understood_is_an_error),
        cmocka_unit_test(long_values_and_words_are_refused_not_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
