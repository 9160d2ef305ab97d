/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The images of a home by the public interface, without a network: what is loaded from folders, listed, run
 * by a fake VMM, removed; and what is refused. Registries follow in tests/cli/images.sh.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cubby.h"
#include "tests/runtime/fake_vmm.h"
#include "tests/runtime/place.h"

#include <sys/eventfd.h>
#include <sys/resource.h>

static struct place place;
static struct cubby_images *images;
static int descriptors;
static char tree[128];

static int set_up(void **state)
{
    (void)state;
    struct cubby_error e;
    if (place_make(&place) < 0)
        return -1;
    fake_assets(place.assets);
    setenv("FAKE_VMM", "ok", 1);
    setenv("XDG_CONFIG_HOME", place.root, 1);
    setenv("DOCKER_CONFIG", place.root, 1);
    snprintf(tree, sizeof(tree), "%s/tree", place.root);
    mkdir(tree, 0755);
    fake_file(tree, "file", "content", 7, 0);
    descriptors = count_entries("/proc/self/fd");
    if (cubby_images_open(&images, NULL, &e) < 0)
        fprintf(stderr, "%s\n", e.message);
    return images ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    cubby_images_close(images);
    images = NULL;
    int boxes = count_boxes(&place), fds = count_entries("/proc/self/fd");
    place_remove(&place);
    if (boxes || fds != descriptors)
        fprintf(stderr, "left over: %d boxes, %d descriptors\n", boxes, fds - descriptors);
    return boxes || fds != descriptors;
}

static void load(const char *name)
{
    struct cubby_error e;
    struct cubby_load_options o = {.size = sizeof(o), .name = name};
    if (cubby_images_load(images, tree, &o, &e) != 1)
        fail_msg("%s", e.message);
}

static struct cubby_image *inspect(const char *name)
{
    struct cubby_error e;
    struct cubby_image *image;
    if (cubby_images_inspect(images, name, NULL, &image, &e) < 0)
        fail_msg("%s", e.message);
    return image;
}

static void an_empty_home_has_no_images(void **state)
{
    (void)state;
    struct cubby_image **list, *image;
    struct cubby_error e;
    assert_int_equal(cubby_images_list(images, &list, &e), 0);
    assert_null(list[0]);
    cubby_images_list_free(list);
    assert_int_equal(cubby_images_inspect(images, "app", NULL, &image, &e), CUBBY_EIMAGE_NOT_FOUND);
    assert_null(image);
    assert_int_equal(cubby_images_inspect(images, "beef", NULL, &image, &e), CUBBY_EIMAGE_NOT_FOUND);
    assert_int_equal(cubby_images_remove(images, "app", NULL, &e), CUBBY_EIMAGE_NOT_FOUND);
    assert_int_equal(cubby_images_prune(images, NULL, NULL, &e), 0);
}

static void what_is_loaded_is_listed_and_inspected(void **state)
{
    (void)state;
    struct cubby_image **list;
    struct cubby_error e;
    load("app:v1");
    load("localhost:5000/other@sha256:0123456789012345678901234567890123456789012345678901234567890123");
    assert_int_equal(cubby_images_list(images, &list, &e), 2);
    assert_string_equal(list[0]->reference, "docker.io/library/app:v1");
    assert_string_equal(list[0]->name, "app:v1");
    assert_int_equal(list[0]->inspected, 0);
    assert_int_equal(list[0]->in_use, 0);
    assert_true(list[0]->stored_bytes > 0 && list[0]->root_bytes > 0 && list[0]->stored_at > 1700000000);
    assert_null(list[0]->env[0]);
    struct cubby_image *by_name = inspect("app:v1"), *by_id = inspect(list[0]->id);
    assert_string_equal(by_name->id, by_id->id);
    assert_int_equal(by_name->inspected, 1);
    assert_non_null(by_name->layers[0]);
    assert_null(by_name->layers[1]);
    assert_int_equal(by_name->stored_bytes, list[0]->stored_bytes);
    char *text = cubby_image_json(by_name, 0), *indented = cubby_image_json(by_name, 4);
    assert_null(strchr(text, '\n'));
    assert_non_null(strchr(indented, '\n'));
    assert_non_null(strstr(text, "\"RootFS\":{\"Type\":\"layers\""));
    free(text);
    free(indented);
    cubby_image_free(by_name);
    cubby_image_free(by_id);
    cubby_images_list_free(list);
}

static void an_image_that_is_there_costs_no_request(void **state)
{
    (void)state;
    struct cubby_error e;
    struct cubby_image *image;
    struct cubby_pull_counts counts = {.size = sizeof(counts)};
    struct cubby_pull_options o = {.size = sizeof(o), .policy = CUBBY_PULL_MISSING};
    load("app:v1");
    assert_int_equal(cubby_images_pull(images, "app:v1", &o, &image, &counts, &e), 0);
    assert_int_equal(counts.size, sizeof(counts));
    assert_int_equal(counts.requests + counts.blobs + counts.bytes + counts.merges, 0);
    assert_int_equal(cubby_images_pull(images, image->id, NULL, NULL, NULL, &e), 0);
    cubby_image_free(image);
    o.policy = CUBBY_PULL_NEVER;
    assert_int_equal(cubby_images_pull(images, "app:v2", &o, NULL, NULL, &e), CUBBY_EIMAGE_NOT_FOUND);
}

static void what_was_removed_stays_until_it_is_pruned(void **state)
{
    (void)state;
    struct cubby_error e;
    struct cubby_prune_counts counts = {.size = sizeof(counts)};
    const struct cubby_prune_options dry = {.size = sizeof(dry), .flags = CUBBY_PRUNE_DRY_RUN},
                                     all = {.size = sizeof(all), .flags = CUBBY_PRUNE_ALL};
    load("app:v1");
    assert_int_equal(cubby_images_remove(images, "app:v1", "linux/riscv64", &e), CUBBY_EIMAGE_NOT_FOUND);
    assert_int_equal(cubby_images_remove(images, "app:v1", NULL, &e), 0);
    assert_int_equal(cubby_images_prune(images, &dry, &counts, &e), 0);
    assert_int_equal(counts.blobs, 3);
    assert_int_equal(counts.roots, 1);
    assert_int_equal(cubby_images_prune(images, NULL, &counts, &e), 0);
    assert_int_equal(counts.blobs, 3);
    assert_true(counts.bytes > 0);
    load("app:v1");
    assert_int_equal(cubby_images_prune(images, &all, &counts, &e), 0);
    assert_int_equal(counts.images, 1);
}

static void an_interrupted_download_may_be_kept(void **state)
{
    (void)state;
    struct cubby_error e;
    struct cubby_prune_options o = {.size = sizeof(o), .flags = CUBBY_PRUNE_KEEP_PARTIAL};
    struct cubby_prune_counts counts = {.size = sizeof(counts)};
    char folder[200];
    snprintf(folder, sizeof(folder), "%s/images/partial", place.home);
    fake_file(folder, "00000000000000000000000000000000000000000000000000000000000000aa", "half", 4, 0);
    assert_int_equal(cubby_images_prune(images, &o, &counts, &e), 0);
    assert_int_equal(counts.partial, 0);
    o.flags = 0;
    assert_int_equal(cubby_images_prune(images, &o, &counts, &e), 0);
    assert_int_equal(counts.partial, 1);
}

/* What the host refuses to the store is no fault of the image: here files beyond a limit on their size. */
static void what_the_host_refuses_is_about_storage(void **state)
{
    (void)state;
    struct cubby_error e;
    struct rlimit old, small = {.rlim_cur = 1 << 20};
    char command[300];
    load("app:v1");
    snprintf(command, sizeof(command), "rm -f %s/images/rootfs/*", place.home);
    assert_int_equal(system(command), 0);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small.rlim_max = old.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    int ret = cubby_images_pull(images, "app:v1", NULL, NULL, NULL, &e);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_equal(ret, CUBBY_ESTORAGE);
    assert_non_null(strstr(e.message, "File too large"));
    assert_int_equal(cubby_images_pull(images, "app:v1", NULL, NULL, NULL, &e), 0);
}

static void words_that_mean_nothing_are_refused(void **state)
{
    (void)state;
    struct cubby_error e;
    struct cubby_image *image;
    struct cubby_pull_options pull = {.size = sizeof(pull), .policy = 7};
    struct cubby_prune_options prune = {.size = sizeof(prune), .flags = 0x10};
    struct cubby_load_options kind = {.size = sizeof(kind), .kind = 9};
    struct cubby_pull_counts tiny = {.size = 3};
    const char *none[] = {NULL};
    load("app:v1");
    assert_int_equal(cubby_images_inspect(images, "Not Valid", NULL, &image, &e), CUBBY_EARGUMENT);
    assert_non_null(strstr(e.message, "Not Valid"));
    assert_int_equal(cubby_images_inspect(images, "app:v1", "no such/platform/at all", &image, &e),
                     CUBBY_EARGUMENT);
    assert_int_equal(cubby_images_pull(images, "app:v1", &pull, NULL, NULL, &e), CUBBY_EARGUMENT);
    assert_int_equal(cubby_images_pull(images, "app:v1", NULL, NULL, &tiny, &e), CUBBY_EARGUMENT);
    assert_int_equal(cubby_images_prune(images, &prune, NULL, &e), CUBBY_EARGUMENT);
    assert_int_equal(cubby_images_load(images, tree, &kind, &e), CUBBY_EARGUMENT);
    assert_int_equal(cubby_images_load(images, "/nonexistent", NULL, &e), CUBBY_EIMAGE_NOT_FOUND);
    assert_int_equal(cubby_images_save(images, none, NULL, 1, -1, &e), CUBBY_EARGUMENT);
    assert_int_equal(cubby_images_open(NULL, NULL, &e), CUBBY_EARGUMENT);
    assert_int_equal(cubby_images_list(NULL, NULL, &e), CUBBY_EARGUMENT);
    assert_int_equal(cubby_images_pull(NULL, "app", NULL, NULL, NULL, &e), CUBBY_EARGUMENT);
    assert_null(cubby_image_json(NULL, 0));
    cubby_image_free(NULL);
    cubby_images_list_free(NULL);
    cubby_images_close(NULL);
}

static void a_home_or_configuration_that_cannot_be_used_is_told(void **state)
{
    (void)state;
    struct cubby_images *other = (void *)1;
    struct cubby_error e;
    const char *bad_host[] = {"not a host", NULL};
    struct cubby_images_options o = {.size = sizeof(o), .home = "/proc/nonexistent"};
    assert_int_equal(cubby_images_open(&other, &o, &e), CUBBY_ESTORAGE);
    assert_null(other);
    o = (struct cubby_images_options){.size = sizeof(o), .config = "/etc/passwd"};
    assert_int_equal(cubby_images_open(&other, &o, &e), CUBBY_ECONFIG);
    assert_non_null(strstr(e.message, "/etc/passwd"));
    o = (struct cubby_images_options){.size = sizeof(o), .insecure_registries = bad_host};
    assert_int_equal(cubby_images_open(&other, &o, &e), CUBBY_EARGUMENT);
    o = (struct cubby_images_options){.size = 1};
    assert_int_equal(cubby_images_open(&other, &o, &e), CUBBY_EARGUMENT);
}

static void making_a_root_file_system_can_be_given_up(void **state)
{
    (void)state;
    struct cubby_error e;
    CLEANUP(fd_closep) int cancel = eventfd(1, EFD_CLOEXEC);
    struct cubby_load_options o = {.size = sizeof(o), .name = "app:v1", .cancel_fd = cancel};
    assert_int_equal(cubby_images_load(images, tree, &o, &e), CUBBY_ESTOPPED);
}

/* Saved to a pipe that nobody reads: an error, and no SIGPIPE, neither now nor pending. */
static void a_pipe_that_nobody_reads_is_an_error(void **state)
{
    (void)state;
    struct cubby_error e;
    int fds[2];
    sigset_t pending;
    const char *names[] = {"app:v1", NULL};
    load("app:v1");
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    close(fds[0]);
    assert_int_equal(cubby_images_save(images, names, NULL, fds[1], -1, &e), CUBBY_ECLOSED);
    close(fds[1]);
    sigpending(&pending);
    assert_int_equal(sigismember(&pending, SIGPIPE), 0);
}

/* ---- boxes
 * ---------------------------------------------------------------------------------------------*/

static struct cubby_box *start(struct cubby_box_options o)
{
    struct cubby_box *box;
    struct cubby_error e;
    o.size = sizeof(o);
    if (cubby_box_create(&box, &o, &e) < 0 || cubby_box_start(box, &e) < 0)
        fail_msg("%s", e.message);
    return box;
}

/* What the command wrote to stdout, in static memory. */
static const char *run(struct cubby_box *box, struct cubby_exec_options o)
{
    static char text[512];
    struct cubby_exec *x;
    struct cubby_error e;
    o.size = sizeof(o);
    if (cubby_exec_start(&x, box, &o, &e) < 0 || cubby_exec_wait(x, 30000, NULL, &e) < 0)
        fail_msg("%s", e.message);
    size_t len = 0;
    for (ssize_t n; (n = cubby_exec_read(x, CUBBY_STDOUT, text + len, sizeof(text) - 1 - len)) > 0;)
        len += (size_t)n;
    text[len] = '\0';
    cubby_exec_free(x);
    return text;
}

static void a_box_of_an_image_keeps_it_from_being_pruned(void **state)
{
    (void)state;
    struct cubby_error e;
    struct cubby_image **list;
    struct cubby_prune_counts counts = {.size = sizeof(counts)};
    const struct cubby_prune_options all = {.size = sizeof(all), .flags = CUBBY_PRUNE_ALL};
    load("app:v1");
    struct cubby_box *box =
        start((struct cubby_box_options){.image = "app:v1"}); /* of the default home: the same */
    assert_int_equal(cubby_images_list(images, &list, &e), 1);
    assert_int_equal(list[0]->in_use, 1);
    cubby_images_list_free(list);
    assert_int_equal(cubby_images_prune(images, &all, &counts, &e), 0);
    assert_int_equal(counts.images + counts.roots, 0);
    assert_int_equal(cubby_box_stop(box, 0, &e), 0);
    assert_int_equal(cubby_box_start(box, &e), 0); /* and it can be started again, of course */
    const char *argv[] = {"where", NULL};
    assert_string_equal(run(box, (struct cubby_exec_options){.argv = argv}), "-\n-\nwhere\n");
    cubby_box_destroy(box);
    assert_int_equal(cubby_images_prune(images, &all, &counts, &e), 0);
    assert_int_equal(counts.images, 1);
}

/* An OCI layout folder whose configuration names no platform, and a label with '=' in its name. */
static void make_layout(const char *folder)
{
    static const char script[] =
        "import hashlib, io, json, os, sys, tarfile\n"
        "os.makedirs(sys.argv[1] + '/blobs/sha256')\n"
        "def put(data, kind):\n"
        "    name = hashlib.sha256(data).hexdigest()\n"
        "    open(sys.argv[1] + '/blobs/sha256/' + name, 'wb').write(data)\n"
        "    return {'mediaType': 'application/vnd.oci.image.' + kind, 'digest': 'sha256:' + name,\n"
        "            'size': len(data)}\n"
        "layer = io.BytesIO()\n"
        "with tarfile.open(fileobj=layer, mode='w') as t:\n"
        "    t.addfile(tarfile.TarInfo('file'))\n"
        "l = put(layer.getvalue(), 'layer.v1.tar')\n"
        "c = put(json.dumps({'config': {'Labels': {'a=b': 'c=d'}}, 'rootfs': {'type': 'layers',\n"
        "    'diff_ids': [l['digest']]}}).encode(), 'config.v1+json')\n"
        "m = put(json.dumps({'schemaVersion': 2, 'config': c, 'layers': [l]}).encode(), 'manifest.v1+json')\n"
        "open(sys.argv[1] + '/oci-layout', 'w').write('{\"imageLayoutVersion\": \"1.0.0\"}')\n"
        "json.dump({'schemaVersion': 2, 'manifests': [m]}, open(sys.argv[1] + '/index.json', 'w'))\n";
    char command[4096];
    snprintf(command, sizeof(command), "python3 - '%s' <<'EOF'\n%sEOF\n", folder, script);
    assert_int_equal(system(command), 0);
}

static void an_image_without_a_platform_is_of_this_host(void **state)
{
    (void)state;
    struct cubby_error e;
    struct cubby_load_options o = {.size = sizeof(o), .name = "bare:1"};
    char folder[160];
    snprintf(folder, sizeof(folder), "%s/layout", place.root);
    make_layout(folder);
    if (cubby_images_load(images, folder, &o, &e) != 1)
        fail_msg("%s", e.message);
    struct cubby_image *image = inspect("bare:1");
    char *json = cubby_image_json(image, 0);
    assert_non_null(strstr(json, "\"Labels\":{\"a=b\":\"c=d\"}"));
    free(json);
    cubby_image_free(image);
    cubby_box_destroy(start((struct cubby_box_options){.image = "bare:1", .images = images}));
}

static void the_environment_of_a_box_goes_to_its_executions(void **state)
{
    (void)state;
    const char *env[] = {"A=box", "B=box", NULL}, *own[] = {"B=own", "C=own", NULL}, *argv[] = {"env", NULL};
    struct cubby_box *box = start((struct cubby_box_options){.env = env});
    env[0] = "CHANGED=later"; /* it was copied */
    assert_string_equal(run(box, (struct cubby_exec_options){.argv = argv}), "A=box\nB=box\n");
    assert_string_equal(run(box, (struct cubby_exec_options){.argv = argv, .env = own}),
                        "A=box\nB=own\nC=own\n");
    cubby_box_destroy(box);
}

static void refuse_box(struct cubby_box_options o, int code, const char *words)
{
    struct cubby_box *box;
    struct cubby_error e;
    o.size = sizeof(o);
    assert_int_equal(cubby_box_create(&box, &o, &e), code);
    if (!strstr(e.message, words))
        fail_msg("'%s' is not in '%s'", words, e.message);
}

static void boxes_that_cannot_be_are_refused(void **state)
{
    (void)state;
    const char *bad_env[] = {"NOVALUE", NULL};
    const struct cubby_pull_options never = {.size = sizeof(never), .policy = CUBBY_PULL_NEVER},
                                    tiny = {.size = 2};
    refuse_box((struct cubby_box_options){.image = "app:v1", .rootfs = "/"}, CUBBY_EARGUMENT, "not both");
    refuse_box((struct cubby_box_options){.image = "Not Valid", .pull = &never}, CUBBY_EARGUMENT,
               "Not Valid");
    refuse_box((struct cubby_box_options){.image = "app:v1", .pull = &never}, CUBBY_EIMAGE_NOT_FOUND,
               "app:v1");
    refuse_box((struct cubby_box_options){.image = "app:v1", .pull = &tiny}, CUBBY_EARGUMENT, "size");
    refuse_box((struct cubby_box_options){.env = bad_env}, CUBBY_EARGUMENT, "NOVALUE");
}

static void refuse_exec(struct cubby_box *box, struct cubby_exec_options o, const char *words)
{
    struct cubby_exec *x;
    struct cubby_error e;
    o.size = sizeof(o);
    assert_int_equal(cubby_exec_start(&x, box, &o, &e), CUBBY_EARGUMENT);
    assert_null(x);
    assert_non_null(strstr(e.message, words));
}

static void a_command_line_that_is_none_is_refused(void **state)
{
    (void)state;
    const char *words[] = {"exit", "3", NULL}, *none[] = {NULL}, *env[] = {"=x", NULL};
    load("app:v1");
    struct cubby_box *box = start((struct cubby_box_options){.image = "app:v1", .images = images});
    refuse_exec(box, (struct cubby_exec_options){.flags = CUBBY_EXEC_IMAGE}, "no command is given");
    refuse_exec(box, (struct cubby_exec_options){.flags = CUBBY_EXEC_IMAGE, .argv = none},
                "no command is given");
    refuse_exec(box, (struct cubby_exec_options){.argv = words, .entrypoint = words},
                "without CUBBY_EXEC_IMAGE");
    refuse_exec(box, (struct cubby_exec_options){.argv = words, .env = env}, "NAME=value");
    refuse_exec(box, (struct cubby_exec_options){.argv = NULL}, "no command");
    run(box, (struct cubby_exec_options){.argv = words, .flags = CUBBY_EXEC_IMAGE});
    cubby_box_destroy(box);
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
    const struct CMUnitTest tests[] = {
        TEST(an_empty_home_has_no_images),
        TEST(what_is_loaded_is_listed_and_inspected),
        TEST(an_image_that_is_there_costs_no_request),
        TEST(what_was_removed_stays_until_it_is_pruned),
        TEST(an_interrupted_download_may_be_kept),
        TEST(what_the_host_refuses_is_about_storage),
        TEST(words_that_mean_nothing_are_refused),
        TEST(a_home_or_configuration_that_cannot_be_used_is_told),
        TEST(making_a_root_file_system_can_be_given_up),
        TEST(a_pipe_that_nobody_reads_is_an_error),
        TEST(a_box_of_an_image_keeps_it_from_being_pruned),
        TEST(an_image_without_a_platform_is_of_this_host),
        TEST(the_environment_of_a_box_goes_to_its_executions),
        TEST(boxes_that_cannot_be_are_refused),
        TEST(a_command_line_that_is_none_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
