/* SPDX-License-Identifier: Apache-2.0 */
/* Configurations as JSON: Firecracker's files work, and what cannot be honoured is refused by name. */
#include "vmm/config_json.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static int parse(struct vm_config *c, struct err *e, const char *text)
{
    config_init(c);
    memset(e, 0, sizeof(*e));
    return config_parse_json(c, text, strlen(text), e);
}

static void expect_error(const char *text, const char *words)
{
    struct vm_config c;
    struct err e;
    int r = parse(&c, &e, text);
    if (r >= 0 || !strstr(e.text, words))
        fail_msg("%s gives %d '%s', which lacks '%s'", text, r, e.text, words);
    config_fini(&c);
}

/* As Firecracker's documentation has it, with the members that ask for nothing. */
static void firecrackers_file_is_understood(void **state)
{
    (void)state;
    static const char text[] =
        "{\"boot-source\": {\"kernel_image_path\": \"vmlinux.bin\", \"boot_args\": \"console=hvc0\","
        "                   \"initrd_path\": null},"
        " \"drives\": [{\"drive_id\": \"data\", \"path_on_host\": \"data.img\", \"is_root_device\": false,"
        "               \"is_read_only\": false, \"partuuid\": null, \"cache_type\": \"Unsafe\","
        "               \"io_engine\": \"Sync\", \"rate_limiter\": null, \"socket\": null},"
        "              {\"drive_id\": \"rootfs\", \"path_on_host\": \"bionic.ext4\", \"is_root_device\": "
        "true,"
        "               \"is_read_only\": true}],"
        " \"machine-config\": {\"vcpu_count\": 2, \"mem_size_mib\": 1024, \"smt\": false,"
        "                      \"track_dirty_pages\": false, \"huge_pages\": \"None\"},"
        " \"cpu-config\": null, \"balloon\": null, \"network-interfaces\": [],"
        " \"vsock\": {\"guest_cid\": 5, \"uds_path\": \"v.sock\", \"vsock_id\": \"1\"},"
        " \"logger\": null, \"metrics\": null, \"mmds-config\": null, \"entropy\": null}";
    struct vm_config c;
    struct err e;
    assert_int_equal(parse(&c, &e, text), 0);
    assert_string_equal(c.kernel, "vmlinux.bin");
    assert_null(c.initrd);
    assert_int_equal(c.cpus, 2);
    assert_int_equal(c.memory_mib, 1024);
    assert_int_equal(c.ndisks, 2);
    assert_string_equal(c.disk[0].path, "bionic.ext4"); /* the root disk is the first */
    assert_true(c.disk[0].read_only);
    assert_string_equal(c.disk[1].path, "data.img");
    assert_string_equal(c.vsock_path, "v.sock");
    assert_int_equal(c.vsock_cid, 5);
    char *line = config_cmdline(&c);
    assert_string_equal(line, "console=hvc0 root=/dev/vda ro");
    free(line);
    config_fini(&c);
}

static void our_own_keys(void **state)
{
    (void)state;
    struct vm_config c;
    struct err e;
    assert_int_equal(
        parse(&c, &e,
              "{\"boot-source\": {\"kernel_image_path\": \"k\", \"protocol\": \"pvh\"},"
              " \"drives\": [{\"path_on_host\": \"a,b\", \"serial\": \"S\"}],"
              " \"console\": {\"path\": \"-\", \"ports\": 2}, \"serial\": true, \"timeline\": \"t\"}"),
        0);
    assert_string_equal(c.boot, "pvh");
    assert_string_equal(c.disk[0].path, "a,b");
    assert_string_equal(c.disk[0].serial, "S");
    assert_string_equal(c.console, "-");
    assert_int_equal(c.console_ports, 2);
    assert_true(c.serial);
    assert_string_equal(c.timeline, "t");
    config_fini(&c);
}

static void what_asks_for_something_else_is_named(void **state)
{
    (void)state;
    expect_error("{\"network-interfaces\": [{}]}", "network-interfaces: this key is not supported");
    expect_error("{\"machine-config\": {\"smt\": true}}", "machine-config.smt: this key");
    expect_error("{\"machine-config\": {\"cpu_template\": \"T2\"}}",
                 "machine-config.cpu_template: only \"None\"");
    expect_error("{\"drives\": [{\"path_on_host\": \"a\"}, {\"path_on_host\": \"b\", \"partuuid\": \"x\"}]}",
                 "drives[1].partuuid: this key");
    expect_error("{\"drives\": [{\"path_on_host\": \"a\", \"rate_limiter\": {\"ops\": {}}}]}",
                 "drives[0].rate_limiter");
    expect_error("{\"drives\": [{\"path_on_host\": \"a\", \"cache_type\": \"x\"}]}", "cache_type");
    expect_error("{\"drives\": [{\"path_on_host\": \"a\", \"io_engine\": \"x\"}]}", "io_engine");
    expect_error("{\"nonsense\": 1}", "nonsense: this key");
}

static void wrong_types_and_values_are_named(void **state)
{
    (void)state;
    expect_error("[]", "the file: an object is expected");
    expect_error("{\"drives\": {}}", "drives: an array is expected");
    expect_error("{\"drives\": [1]}", "drives[0]: an object is expected");
    expect_error("{\"drives\": [{}]}", "drives[0]: path_on_host is missing");
    expect_error("{\"drives\": [{\"path_on_host\": 1}]}", "drives[0].path_on_host: a string");
    expect_error("{\"drives\": [{\"path_on_host\": \"a\\u0000b\"}]}", "NUL");
    expect_error("{\"drives\": [{\"path_on_host\": \"a\", \"drive_id\": 3}]}", "drive_id: a string");
    expect_error("{\"drives\": [{\"path_on_host\": \"a\", \"is_read_only\": 1}]}", "true or false");
    expect_error("{\"drives\": [{\"path_on_host\": \"a\", \"is_root_device\": true},"
                 "              {\"path_on_host\": \"b\", \"is_root_device\": true}]}",
                 "'a' is it already");
    expect_error("{\"machine-config\": {\"vcpu_count\": -1}}", "machine-config.vcpu_count: a number from 0");
    expect_error("{\"machine-config\": {\"vcpu_count\": 1e3}}", "a number");
    expect_error("{\"machine-config\": {\"mem_size_mib\": 99999999999}}", "mem_size_mib: a number");
    expect_error("{\"vsock\": {\"guest_cid\": \"3\"}}", "vsock.guest_cid");
    expect_error("{\"console\": {\"ports\": \"3\"}}", "console.ports");
    expect_error("{\"boot-source\": []}", "boot-source: an object");
}

static void bad_json_is_named_by_line(void **state)
{
    (void)state;
    expect_error("", "line 1");
    expect_error("{\n\n]", "line 3");
    expect_error("{\"serial\": true, \"serial\": true}", "duplicate");
    expect_error("{} {}", "line 1");
}

static void disks_are_bounded(void **state)
{
    (void)state;
    char text[4096] = "{\"drives\": [";
    for (int i = 0; i <= VM_DISKS_MAX; i++)
        strcat(text, i ? ", {\"path_on_host\": \"d\"}" : "{\"path_on_host\": \"d\"}");
    strcat(text, "]}");
    expect_error(text, "is one too many");
}

static void files_are_named_in_errors(void **state)
{
    (void)state;
    struct vm_config c;
    struct err e = {0};
    config_init(&c);
    assert_true(config_load_json(&c, "/nonexistent", &e) < 0);
    assert_non_null(strstr(e.text, "/nonexistent"));
    assert_true(config_load_json(&c, "/", &e) < 0);
    assert_true(config_load_json(&c, "/dev/null", &e) < 0);
    assert_non_null(strstr(e.text, "/dev/null: line"));
    config_fini(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(firecrackers_file_is_understood),
        cmocka_unit_test(our_own_keys),
        cmocka_unit_test(what_asks_for_something_else_is_named),
        cmocka_unit_test(wrong_types_and_values_are_named),
        cmocka_unit_test(bad_json_is_named_by_line),
        cmocka_unit_test(disks_are_bounded),
        cmocka_unit_test(files_are_named_in_errors),
    };
    return cmocka_run_group_tests_name("config_json", tests, NULL, NULL);
}
