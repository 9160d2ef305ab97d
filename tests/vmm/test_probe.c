/* SPDX-License-Identifier: Apache-2.0 */
/* The probe and kvm_open() on devices that are none; a real KVM is tried in tests/kvm. */
#include "vmm/kvm.h"
#include "vmm/probe.h"

#include <errno.h>
#include <jansson.h>
#include <linux/kvm.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct probe_check *find(const struct probe *p, const char *name)
{
    for (unsigned i = 0; i < p->count; i++) {
        if (strcmp(p->check[i].name, name) == 0)
            return &p->check[i];
    }
    return NULL;
}

static void missing_device_is_told_with_a_remedy(void **state)
{
    (void)state;
    static struct probe p;
    probe_run(&p, "/nonexistent/kvm");
    assert_int_equal(p.count, 1);
    assert_string_equal(p.check[0].name, "device");
    assert_false(p.check[0].ok);
    assert_non_null(strstr(p.check[0].detail, "/nonexistent/kvm does not exist"));
    assert_non_null(strstr(p.check[0].remedy, "kvm_intel"));
    assert_false(probe_usable(&p));
}

static void device_that_is_not_kvm_is_told(void **state)
{
    (void)state;
    static struct probe p;
    probe_run(&p, "/dev/null");
    assert_false(probe_usable(&p));
    assert_non_null(find(&p, "device"));
    assert_false(find(&p, "device")->ok);
    assert_non_null(strstr(find(&p, "device")->detail, "/dev/null is not KVM"));
}

static void nothing_checked_is_not_usable(void **state)
{
    (void)state;
    static struct probe p;
    assert_false(probe_usable(&p));
}

static void hints_do_not_make_a_host_unusable(void **state)
{
    (void)state;
    static struct probe p = {
        .count = 2,
        .check = {{.name = "a", .ok = true, .required = true}, {.name = "b", .ok = false, .required = false}},
    };
    assert_true(probe_usable(&p));
    p.check[1].required = true;
    assert_false(probe_usable(&p));
}

static void both_forms_say_the_same(void **state)
{
    (void)state;
    static struct probe p;
    char *text = NULL;
    size_t len = 0;
    probe_run(&p, "/nonexistent/kvm");
    FILE *f = open_memstream(&text, &len);
    probe_print(&p, f);
    fclose(f);
    assert_non_null(strstr(text, "FAIL device: /nonexistent/kvm does not exist; "));
    assert_non_null(strstr(text, "This host cannot run boxes"));
    free(text);

    text = NULL;
    f = open_memstream(&text, &len);
    assert_int_equal(probe_print_json(&p, f), 0);
    fclose(f);
    json_t *j = json_loads(text, 0, NULL);
    assert_non_null(j);
    assert_true(json_is_false(json_object_get(j, "usable")));
    json_t *check = json_array_get(json_object_get(j, "checks"), 0);
    assert_string_equal(json_string_value(json_object_get(check, "name")), "device");
    assert_true(json_is_false(json_object_get(check, "ok")));
    assert_string_equal(json_string_value(json_object_get(check, "remedy")), p.check[0].remedy);
    json_decref(j);
    free(text);
}

static void open_errors_have_codes_of_their_own(void **state)
{
    (void)state;
    struct kvm k;
    struct err e;
    assert_int_equal(kvm_open(&k, "/nonexistent/kvm", &e), -ENOENT);
    assert_int_equal(kvm_open(&k, "/dev/null", &e), -ENODEV);
    assert_int_equal(k.fd, -1);
    assert_int_equal(kvm_open(&k, "/", &e), -EISDIR);
    assert_non_null(strstr(e.text, "cannot open /"));
    kvm_close(&k);
}

static void wrappers_report_errors_of_bad_descriptors(void **state)
{
    (void)state;
    struct kvm k = {.fd = -1, .run_size = 4096};
    struct kvm_run *run;
    struct err e;
    struct gmem mem = {.count = 1, .region = {{.gpa = 0x1000, .size = 1 << 20}}};
    assert_int_equal(kvm_cap(&k, KVM_CAP_IRQFD), 0);
    assert_int_equal(kvm_check_needs(&k, &e), -ENOTSUP);
    assert_non_null(strstr(e.text, "KVM_CAP_USER_MEMORY (guest memory)"));
    assert_int_equal(kvm_create_vm(&k, &e), -EBADF);
    assert_int_equal(kvm_create_vcpu(&k, -1, 3, &run, &e), -EBADF);
    assert_non_null(strstr(e.text, "vCPU 3"));
    assert_int_equal(kvm_set_memory(-1, &mem, &e), -EBADF);
    assert_non_null(strstr(e.text, "1 MiB of memory at 0x1000"));
    assert_int_equal(kvm_irqfd(-1, -1, 0, true), -EBADF);
    assert_int_equal(kvm_ioeventfd(-1, -1, 0, 0, true), -EBADF);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(missing_device_is_told_with_a_remedy),
        cmocka_unit_test(device_that_is_not_kvm_is_told),
        cmocka_unit_test(nothing_checked_is_not_usable),
        cmocka_unit_test(hints_do_not_make_a_host_unusable),
        cmocka_unit_test(both_forms_say_the_same),
        cmocka_unit_test(open_errors_have_codes_of_their_own),
        cmocka_unit_test(wrappers_report_errors_of_bad_descriptors),
    };
    return cmocka_run_group_tests_name("probe", tests, NULL, NULL);
}
