/* SPDX-License-Identifier: Apache-2.0 */
/* vm_create() fails in the middle, at each place where it can run out of descriptors, and leaves nothing
 * behind. */
#include "tests/kvm/guest.h"
#include "vmm/probe.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>

GUEST(off, POWER_OFF);

static int open_descriptors(void)
{
    int n = 0;
    for (int fd = 0; fd < 1024; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

/* Mappings of vCPUs and of the guest's kernel that are still there. */
static int mappings(void)
{
    char line[512];
    int n = 0;
    FILE *f = fopen("/proc/self/maps", "re");
    assert_non_null(f);
    while (fgets(line, sizeof(line), f))
        n += strstr(line, "kvm-vcpu") || strstr(line, "memfd:guest");
    fclose(f);
    return n;
}

static void fill_config(struct guest *g, const char *dir)
{
    char path[100];
    guest_init(g);
    g->config.cpus = 3;
    snprintf(path, sizeof(path), "%s/v", dir);
    config_set(&g->config.vsock_path, path);
    snprintf(path, sizeof(path), "%s/disk", dir);
    assert_int_equal(config_add_disk(&g->config, path, "S", false, false, NULL), 0);
    snprintf(path, sizeof(path), "%s/console", dir);
    config_set(&g->config.console, path);
}

static void running_out_of_descriptors_anywhere_leaves_nothing(void **state)
{
    (void)state;
    char dir[] = "/tmp/cubby-create-XXXXXX", path[100];
    struct rlimit saved, limit;
    struct stat st;
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/disk", dir);
    int disk = open(path, O_RDWR | O_CREAT, 0600);
    assert_int_equal(ftruncate(disk, 1 << 20), 0);
    close(disk);
    getrlimit(RLIMIT_NOFILE, &saved);

    int before = open_descriptors(), failures = 0, done = 0;
    for (rlim_t n = (rlim_t)before + 1; !done && n < 200; n++) {
        struct guest g;
        struct err e = {0};
        fill_config(&g, dir);
        limit = saved;
        limit.rlim_cur = n;
        setrlimit(RLIMIT_NOFILE, &limit);
        done = guest_create(&g, off_begin, off_end, &e) == 0;
        setrlimit(RLIMIT_NOFILE, &saved);
        assert_int_equal(mappings() > 0, done);
        if (!done) {
            failures++;
            assert_null(g.vm);
            assert_true(strlen(e.text) > 10);
        }
        guest_fini(&g);
        assert_int_equal(open_descriptors(), before);
        snprintf(path, sizeof(path), "%s/v", dir);
        assert_int_equal(stat(path, &st), -1);
        assert_int_equal(mappings(), 0);
    }
    assert_true(done);
    assert_in_range(failures, 10, 150); /* each descriptor's absence was tried */

    snprintf(path, sizeof(path), "%s/console", dir);
    unlink(path);
    snprintf(path, sizeof(path), "%s/disk", dir);
    unlink(path);
    assert_int_equal(rmdir(dir), 0);
}

static void memory_that_the_host_does_not_have_is_refused(void **state)
{
    (void)state;
    struct guest g;
    struct err e = {0};
    struct rlimit saved, limit;
    guest_init(&g);
    g.config.memory_mib = 512;
    getrlimit(RLIMIT_AS, &saved);
    limit = saved;
    limit.rlim_cur = 300 << 20;
    setrlimit(RLIMIT_AS, &limit);
    int r = guest_create(&g, off_begin, off_end, &e);
    setrlimit(RLIMIT_AS, &saved);
    assert_int_equal(r, -ENOMEM);
    assert_non_null(strstr(e.text, "512 MiB"));
    guest_fini(&g);
}

/* The probe answers yes here, as other tests of this folder run guests. */
static void probe_finds_this_machine_usable(void **state)
{
    (void)state;
    static struct probe p;
    int before = open_descriptors();
    probe_run(&p, KVM_DEVICE);
    for (unsigned i = 0; i < p.count; i++) {
        if (p.check[i].required && !p.check[i].ok)
            fail_msg("%s: %s", p.check[i].name, p.check[i].detail);
    }
    assert_true(probe_usable(&p));
    assert_int_equal(open_descriptors(), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(running_out_of_descriptors_anywhere_leaves_nothing),
        cmocka_unit_test(memory_that_the_host_does_not_have_is_refused),
        cmocka_unit_test(probe_finds_this_machine_usable),
    };
    alarm(120);
    return cmocka_run_group_tests_name("create", tests, NULL, NULL);
}
