/* SPDX-License-Identifier: Apache-2.0 */
/* The timeline: first stamps count, and the JSON says what was stamped. */
#include "base/io.h"
#include "vmm/bus.h"
#include "vmm/timeline.h"

#include <errno.h>
#include <linux/kvm.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static json_int_t number(json_t *root, const char *a, const char *b)
{
    json_t *v = json_object_get(json_object_get(root, a), b);
    return json_is_integer(v) ? json_integer_value(v) : -1;
}

static void every_mark_and_end_has_a_name_of_its_own(void **state)
{
    (void)state;
    for (unsigned i = 0; i < TIMELINE_MARKS; i++) {
        assert_non_null(timeline_name(i));
        for (unsigned j = 0; j < i; j++)
            assert_string_not_equal(timeline_name(i), timeline_name(j));
    }
    assert_string_equal(timeline_name(TIMELINE_MARKS), "unknown");
    for (unsigned i = 0; i < END_REASONS; i++) {
        for (unsigned j = 0; j < i; j++)
            assert_string_not_equal(end_name(i), end_name(j));
    }
    assert_string_equal(end_name(END_REASONS), "unknown");
    assert_int_equal(end_exit_code(END_REASONS), END_EXIT_HOST_ERROR);
    assert_int_equal(end_exit_code(END_POWEROFF), 0);
    assert_int_equal(end_exit_code(END_PANIC), 10);
}

static void first_stamp_counts(void **state)
{
    (void)state;
    struct timeline t;
    uint64_t first, second, main_at;
    timeline_init(&t, now_ns());
    assert_true(timeline_at(&t, MARK_MAIN, &main_at));
    assert_int_equal(main_at, 0);
    assert_false(timeline_at(&t, MARK_FIRST_RUN, &first));
    assert_true(timeline_stamp(&t, MARK_FIRST_RUN));
    assert_true(timeline_at(&t, MARK_FIRST_RUN, &first));
    assert_false(timeline_stamp(&t, MARK_FIRST_RUN));
    assert_true(timeline_at(&t, MARK_FIRST_RUN, &second));
    assert_int_equal(first, second);
    assert_false(timeline_stamp(&t, MARK_MAIN));
}

static void a_stamp_at_the_start_is_a_stamp(void **state)
{
    (void)state;
    struct timeline t;
    uint64_t ns;
    timeline_init(&t, now_ns());
    t.since_start_ns[MARK_VM_CREATED] = 1; /* zero nanoseconds after the start */
    assert_true(timeline_at(&t, MARK_VM_CREATED, &ns));
    assert_int_equal(ns, 0);
}

static void nothing_read(void *owner, uint64_t offset, void *data, uint32_t len)
{
    (void)owner, (void)offset;
    memset(data, 0, len);
}

static const struct bus_ops ops = {.read = nothing_read};

static void json_has_marks_exits_and_end(void **state)
{
    (void)state;
    struct timeline t;
    struct bus b = {0};
    struct exits x = {0};
    struct exit_report report = {0};
    uint8_t v;
    bus_add(&b, 0x10, 1, "device", &ops, NULL);
    bus_add(&b, 0x20, 1, "idle", &ops, NULL);
    bus_read(&b, 0x10, &v, 1);
    bus_read(&b, 0x11, &v, 1);
    exits_count(&x, KVM_EXIT_IO);
    exits_count(&x, KVM_EXIT_IO);
    exits_count(&x, 38); /* kinds without a name are one kind */
    exits_count(&x, 1000);
    exits_add(&x, report.by_kind);
    exit_report_bus(&report, &b, "nobody");
    timeline_init(&t, 1000);
    timeline_stamp(&t, MARK_AGENT_READY);

    struct end end = {.reason = END_PANIC, .detail = "attic"};
    json_t *j = timeline_json(&t, NULL, &report, &end);
    assert_non_null(j);
    assert_int_equal(number(j, "marks", "main"), 0);
    assert_true(number(j, "marks", "agent-ready") > 0);
    assert_null(json_object_get(json_object_get(j, "marks"), "first-run"));
    assert_true(json_is_null(json_object_get(j, "exits_until_ready")));
    assert_int_equal(number(j, "exits", "total"), 4);
    json_t *exits = json_object_get(j, "exits");
    assert_int_equal(number(exits, "by_kind", "io"), 2);
    assert_int_equal(number(exits, "by_kind", "other"), 2);
    assert_int_equal(number(exits, "by_device", "device"), 1);
    assert_int_equal(number(exits, "by_device", "nobody"), 1);
    assert_int_equal(number(exits, "by_device", "idle"), -1);
    json_t *e = json_object_get(j, "end");
    assert_string_equal(json_string_value(json_object_get(e, "reason")), "panic");
    assert_string_equal(json_string_value(json_object_get(e, "detail")), "attic");
    json_decref(j);
}

static void file_appears_whole_or_the_error_names_it(void **state)
{
    (void)state;
    char dir[] = "/tmp/cubby-timeline-XXXXXX", path[64];
    struct err e = {0};
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/t.json", dir);
    json_t *j = json_pack("{s:i}", "a", 1);
    assert_int_equal(timeline_write(path, j, &e), 0);
    json_t *back = json_load_file(path, 0, NULL);
    assert_true(json_equal(j, back));
    json_decref(back);
    unlink(path);
    snprintf(path, sizeof(path), "%s/none/t.json", dir);
    assert_true(timeline_write(path, j, &e) < 0);
    assert_non_null(strstr(e.text, path));
    assert_int_equal(timeline_write(path, NULL, &e), -ENOMEM);
    json_decref(j);
    rmdir(dir);
}

static void expect_panic(const char *output, size_t len, const char *want)
{
    char words[16] = "";
    assert_int_equal(end_find_panic(output, len, words, sizeof(words)), want != NULL);
    if (want)
        assert_string_equal(words, want);
}

static void words_of_a_panic_are_found_among_any_bytes(void **state)
{
    (void)state;
#define OUTPUT(s) s, sizeof(s) - 1
    expect_panic(OUTPUT("x\0y\nKernel panic - not syncing: attic\r\nmore"), "attic");
    expect_panic(OUTPUT("Kernel panic - not syncing: attic"), "attic");
    expect_panic(OUTPUT("Kernel panic - not syncing: "), "");
    expect_panic(OUTPUT("Kernel panic - not syncing: attic\0cellar"), "attic");
    expect_panic(OUTPUT("Kernel panic - not syncing: a very long reason"), "a very long rea");
    expect_panic(OUTPUT("Kernel panic - not syncing:"), NULL);
    expect_panic(OUTPUT("all is well"), NULL);
    expect_panic("", 0, NULL);
}

static void set_run(struct kvm_run *run, uint32_t reason)
{
    memset(run, 0, sizeof(*run));
    run->exit_reason = reason;
}

static void fatal_exits_are_told_in_words(void **state)
{
    (void)state;
    static struct kvm_run run;
    char text[200];
    set_run(&run, KVM_EXIT_INTERNAL_ERROR);
    run.emulation_failure.suberror = KVM_INTERNAL_ERROR_EMULATION;
    run.emulation_failure.ndata = 3;
    run.emulation_failure.flags = KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES;
    run.emulation_failure.insn_size = 200; /* more than there are */
    run.emulation_failure.insn_bytes[0] = 0x48;
    exit_describe(&run, text, sizeof(text));
    assert_non_null(strstr(text, "could not emulate"));
    assert_non_null(strstr(text, "bytes 48 00"));
    char cut[8];
    exit_describe(&run, cut, sizeof(cut));
    assert_int_equal(strlen(cut), 7);

    run.internal.suberror = 77;
    exit_describe(&run, text, sizeof(text));
    assert_non_null(strstr(text, "suberror 77"));
    set_run(&run, KVM_EXIT_FAIL_ENTRY);
    run.fail_entry.hardware_entry_failure_reason = 0x80000021;
    exit_describe(&run, text, sizeof(text));
    assert_non_null(strstr(text, "0x80000021"));
    set_run(&run, KVM_EXIT_SHUTDOWN);
    exit_describe(&run, text, sizeof(text));
    assert_non_null(strstr(text, "triple fault"));
    set_run(&run, KVM_EXIT_UNKNOWN);
    run.hw.hardware_exit_reason = 0x1234;
    exit_describe(&run, text, sizeof(text));
    assert_non_null(strstr(text, "0x1234"));
    set_run(&run, 12345);
    exit_describe(&run, text, sizeof(text));
    assert_non_null(strstr(text, "12345"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_mark_and_end_has_a_name_of_its_own),
        cmocka_unit_test(first_stamp_counts),
        cmocka_unit_test(a_stamp_at_the_start_is_a_stamp),
        cmocka_unit_test(json_has_marks_exits_and_end),
        cmocka_unit_test(file_appears_whole_or_the_error_names_it),
        cmocka_unit_test(words_of_a_panic_are_found_among_any_bytes),
        cmocka_unit_test(fatal_exits_are_told_in_words),
    };
    return cmocka_run_group_tests_name("timeline", tests, NULL, NULL);
}
