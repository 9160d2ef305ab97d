/* SPDX-License-Identifier: Apache-2.0 */
/* Box folders: where they are, who owns them, what is swept and what is left alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/io.h"
#include "base/own.h"
#include "runtime/folder.h"
#include "tests/runtime/place.h"

#include <errno.h>
#include <sys/wait.h>

static struct place place;

static int set_up(void **state)
{
    (void)state;
    return place_make(&place);
}

static int tear_down(void **state)
{
    (void)state;
    place_remove(&place);
    return 0;
}

static void a_folder_is_private_and_removed_with_all_in_it(void **state)
{
    (void)state;
    struct box_folder f;
    struct err e;
    struct stat st;
    char path[BOX_PATH_MAX];
    assert_int_equal(folder_create(&f, &e), 0);
    assert_int_equal(strlen(f.id), BOX_ID_LEN);
    assert_int_equal(stat(f.path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    folder_file(&f, "vsock.sock_1024", path);
    CLEANUP(fd_closep) int fd = unix_listen(path, 1, &e);
    assert_true(fd >= 0);
    folder_remove(&f);
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(count_boxes(&place), 0);
    folder_remove(&f);
    struct box_folder none = {0};
    folder_remove(&none);
}

static void ids_differ(void **state)
{
    (void)state;
    struct box_folder a, b;
    assert_int_equal(folder_create(&a, NULL), 0);
    assert_int_equal(folder_create(&b, NULL), 0);
    assert_string_not_equal(a.id, b.id);
    folder_remove(&a);
    folder_remove(&b);
}

static void a_live_owner_keeps_its_folder(void **state)
{
    (void)state;
    struct box_folder f;
    assert_int_equal(folder_create(&f, NULL), 0);
    folder_sweep(f.base);
    assert_int_equal(access(f.path, F_OK), 0);
    folder_remove(&f);
}

/* Replaces the owner's note of a live folder by `note` and says whether a sweep removes it. */
static int swept_with_note(const char *note)
{
    struct box_folder f;
    char path[BOX_PATH_MAX];
    assert_int_equal(folder_create(&f, NULL), 0);
    folder_file(&f, "owner", path);
    unlink(path);
    if (note)
        assert_int_equal(write_file_atomic(path, note, strlen(note), 0600, NULL), 0);
    folder_sweep(f.base);
    int swept = access(f.path, F_OK) < 0;
    folder_remove(&f);
    return swept;
}

/* The note that this process writes, split into its fields. */
static void own_note(int *pid, unsigned long long *started, char ns[64], char boot[64])
{
    struct box_folder f;
    char path[BOX_PATH_MAX];
    CLEANUP(mem_freep) char *text = NULL;
    size_t len;
    assert_int_equal(folder_create(&f, NULL), 0);
    folder_file(&f, "owner", path);
    assert_int_equal(read_file(path, 1000, &text, &len, NULL), 0);
    assert_int_equal(sscanf(text, "%d %llu %63s %63s", pid, started, ns, boot), 4);
    folder_remove(&f);
}

static void folders_of_dead_owners_are_swept(void **state)
{
    (void)state;
    int pid;
    unsigned long long started;
    char ns[64], boot[64], note[400];
    own_note(&pid, &started, ns, boot);
    assert_int_equal(pid, getpid());
    pid_t child = fork();
    if (child == 0)
        _exit(0);
    waitpid(child, NULL, 0);
    snprintf(note, sizeof(note), "%d %llu %s %s\n", (int)child, started, ns, boot);
    assert_true(swept_with_note(note)); /* no such process */
    snprintf(note, sizeof(note), "%d %llu %s %s\n", pid, started + 1, ns, boot);
    assert_true(swept_with_note(note)); /* the pid was given to another process */
    snprintf(note, sizeof(note), "%d %llu %s %s\n", pid, started, ns, "another-boot");
    assert_true(swept_with_note(note));
    assert_true(swept_with_note(""));
    assert_true(swept_with_note("12"));
    assert_true(swept_with_note(NULL)); /* died before it wrote the note */
}

static void folders_of_live_or_unknown_owners_are_left_alone(void **state)
{
    (void)state;
    int pid;
    unsigned long long started;
    char ns[64], boot[64], note[400];
    own_note(&pid, &started, ns, boot);
    snprintf(note, sizeof(note), "%d %llu %s %s\n", pid, started, ns, boot);
    assert_false(swept_with_note(note));
    /* In another pid namespace the number means another process. */
    snprintf(note, sizeof(note), "%d %llu %s %s\n", pid, started + 1, "pid:[1]", boot);
    assert_false(swept_with_note(note));
}

static void what_is_no_box_is_left_alone(void **state)
{
    (void)state;
    struct box_folder f;
    char path[300];
    assert_int_equal(folder_create(&f, NULL), 0);
    snprintf(path, sizeof(path), "%s/Not-A-Box-123", f.base);
    assert_int_equal(mkdir(path, 0700), 0);
    folder_sweep(f.base);
    assert_int_equal(access(path, F_OK), 0);
    rmdir(path);
    folder_remove(&f);
}

static void a_symbolic_link_in_place_of_a_folder_is_not_followed(void **state)
{
    (void)state;
    struct box_folder f;
    char link[300], precious[300];
    assert_int_equal(folder_create(&f, NULL), 0);
    snprintf(link, sizeof(link), "%s/aaaaaaaaaaaa", f.base);
    snprintf(precious, sizeof(precious), "%s/precious", place.tmp);
    assert_int_equal(write_file_atomic(precious, "x", 1, 0600, NULL), 0);
    assert_int_equal(symlink(place.tmp, link), 0);
    folder_sweep(f.base);
    assert_int_equal(access(precious, F_OK), 0);
    unlink(link);
    folder_remove(&f);
}

static void a_planned_image_is_private_and_goes_with_the_folder(void **state)
{
    (void)state;
    struct box_folder f;
    struct err e;
    struct stat st;
    char image[PLANNED_PATH_MAX];
    assert_int_equal(folder_create(&f, &e), 0);
    assert_int_equal(folder_plan_image(&f, image, &e), 0);
    assert_int_equal(stat(image, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    folder_remove(&f);
    assert_int_equal(access(image, F_OK), -1);
}

static void a_planned_disk_is_in_its_folder_and_goes_with_the_box(void **state)
{
    (void)state;
    struct box_folder f;
    struct err e;
    struct stat st;
    char disk[PLANNED_PATH_MAX];
    assert_int_equal(folder_create(&f, &e), 0);
    assert_int_equal(folder_plan_disk(&f, "/nonexistent", disk, &e), -ENOENT);
    assert_non_null(strstr(e.text, "set CUBBY_HOME"));
    folder_remove(&f);
    assert_int_equal(folder_create(&f, &e), 0);
    assert_int_equal(folder_plan_disk(&f, place.root, disk, &e), 0);
    assert_int_equal(stat(disk, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    folder_remove(&f);
    assert_int_equal(access(disk, F_OK), -1);
}

static void what_an_earlier_vmm_left_is_removed(void **state)
{
    (void)state;
    struct box_folder f;
    char path[BOX_PATH_MAX], owner[BOX_PATH_MAX];
    assert_int_equal(folder_create(&f, NULL), 0);
    folder_file(&f, "vmm.log", path);
    folder_file(&f, "owner", owner);
    assert_int_equal(write_file_atomic(path, "x", 1, 0600, NULL), 0);
    folder_refresh(&f);
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(access(owner, F_OK), 0);
    folder_remove(&f);
}

static void an_image_link_to_something_else_removes_nothing(void **state)
{
    (void)state;
    struct box_folder f;
    char link[BOX_PATH_MAX], precious[300];
    snprintf(precious, sizeof(precious), "%s/precious", place.tmp);
    assert_int_equal(write_file_atomic(precious, "x", 1, 0600, NULL), 0);
    assert_int_equal(folder_create(&f, NULL), 0);
    folder_file(&f, "image", link);
    assert_int_equal(symlink(precious, link), 0);
    folder_remove(&f);
    assert_int_equal(access(precious, F_OK), 0);
    unlink(precious);
}

static void a_runtime_folder_that_is_too_long_is_refused(void **state)
{
    (void)state;
    char deep[300];
    char base[BOX_PATH_MAX];
    struct err e;
    snprintf(deep, sizeof(deep), "%s/%080d", place.run, 0);
    assert_int_equal(mkdir(deep, 0700), 0);
    setenv("XDG_RUNTIME_DIR", deep, 1);
    assert_int_equal(folder_base(base, &e), -ENAMETOOLONG);
    assert_non_null(strstr(e.text, "XDG_RUNTIME_DIR is too long"));
}

static void without_a_usable_runtime_folder_tmp_is_used(void **state)
{
    (void)state;
    char base[BOX_PATH_MAX], expected[64];
    struct err e;
    snprintf(expected, sizeof(expected), "/tmp/cubby-%u", (unsigned)geteuid());
    static const char *const unusable[] = {"/nonexistent", "relative", "", "/etc/passwd"};
    for (size_t i = 0; i < ARRAY_LEN(unusable); i++) {
        setenv("XDG_RUNTIME_DIR", unusable[i], 1);
        assert_int_equal(folder_base(base, &e), 0);
        assert_string_equal(base, expected);
    }
}

static void a_base_that_is_no_folder_or_open_to_others_is_refused_or_closed(void **state)
{
    (void)state;
    char path[200], base[BOX_PATH_MAX];
    struct err e;
    struct stat st;
    snprintf(path, sizeof(path), "%s/cubby", place.run);
    assert_int_equal(write_file_atomic(path, "x", 1, 0600, NULL), 0);
    assert_int_equal(folder_base(base, &e), -ENOTDIR);
    unlink(path);
    assert_int_equal(symlink(place.tmp, path), 0);
    assert_int_equal(folder_base(base, &e), -ENOTDIR);
    unlink(path);
    assert_int_equal(mkdir(path, 0777), 0);
    chmod(path, 0777);
    assert_int_equal(folder_base(base, &e), 0);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    if (geteuid() == 0) {
        assert_int_equal(chown(path, 12345, 12345), 0);
        assert_int_equal(folder_base(base, &e), -EPERM);
        assert_non_null(strstr(e.text, "another user"));
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_folder_is_private_and_removed_with_all_in_it),
        TEST(ids_differ),
        TEST(a_live_owner_keeps_its_folder),
        TEST(folders_of_dead_owners_are_swept),
        TEST(folders_of_live_or_unknown_owners_are_left_alone),
        TEST(what_is_no_box_is_left_alone),
        TEST(a_symbolic_link_in_place_of_a_folder_is_not_followed),
        TEST(a_planned_image_is_private_and_goes_with_the_folder),
        TEST(a_planned_disk_is_in_its_folder_and_goes_with_the_box),
        TEST(what_an_earlier_vmm_left_is_removed),
        TEST(an_image_link_to_something_else_removes_nothing),
        TEST(a_runtime_folder_that_is_too_long_is_refused),
        TEST(without_a_usable_runtime_folder_tmp_is_used),
        TEST(a_base_that_is_no_folder_or_open_to_others_is_refused_or_closed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
