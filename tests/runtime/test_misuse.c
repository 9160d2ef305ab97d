/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every function of cubby.h, called wrongly: each pointer NULL in turn while the rest is right, and structs
 * of every wrong size. All of it is answered with an error, with and without a place for its text. A function
 * or a sized struct of tests/library/abi.txt that has no line here fails the test.
 */
#include "tests/runtime/agent_box.h"

#include <limits.h>

static struct cubby_error e, *ep; /* ep: &e, or NULL */
static char seen[8192] = "\n";    /* "cubby_x\n" of each function and struct that was tried */

static void note(const char *name)
{
    char line[128];
    snprintf(line, sizeof(line), "\n%s\n", name);
    if (!strstr(seen, line) && strlen(seen) + strlen(name) + 2 < sizeof(seen))
        strcat(strcat(seen, name), "\n");
}

/* After a call: what came of it, and that the error says so, when the function has one. */
static void check(const char *function, const char *args, long wanted, long got)
{
    size_t len = strlen(args);
    note(function);
    if (got != wanted)
        fail_msg("%s(%s) is %ld, not %ld: %s", function, args, got, wanted, e.message);
    if (ep && got < 0 && len >= 2 && strcmp(args + len - 2, "ep") == 0 && (e.code != got || !e.message[0]))
        fail_msg("%s(%s) says nothing: code %d, '%s'", function, args, e.code, e.message);
    memset(&e, 0, sizeof(e));
}

#define GIVES(wanted, function, ...) check(#function, #__VA_ARGS__, wanted, (long)function(__VA_ARGS__))
#define REFUSES(function, ...)       GIVES(CUBBY_EARGUMENT, function, __VA_ARGS__)
#define BEARS(function)              (function(NULL), note(#function))

/* What is right beside the NULL. */
static struct cubby_images *images;
static struct cubby_exec *x;
static struct cubby_exec_list *list;
static struct cubby_report *report;
static const char *const words[] = {"true", NULL};
static struct cubby_exec_options what = {.size = sizeof(what), .argv = words};
static const struct cubby_pull_options never = {.size = sizeof(never), .policy = CUBBY_PULL_NEVER};

static int set_up_all(void **state)
{
    const char *const sleeps[] = {"sleep", "600", NULL};
    struct cubby_exec_options o = {.size = sizeof(o), .argv = sleeps, .flags = CUBBY_EXEC_STDIN};
    struct cubby_error why;
    if (set_up(state) < 0 || cubby_images_open(&images, NULL, &why) < 0 ||
        cubby_exec_start(&x, box, &o, &why) < 0 ||
        !(cubby_exec_poll(x, CUBBY_IS_STARTED, PATIENCE_MS) & CUBBY_IS_STARTED) ||
        cubby_exec_list(&list, box, PATIENCE_MS, &why) < 0 || cubby_doctor(&report, NULL, &why) < 0) {
        fprintf(stderr, "%s\n", why.message);
        return -1;
    }
    return 0;
}

static int tear_down_all(void **state)
{
    cubby_report_free(report);
    cubby_exec_list_free(list);
    cubby_exec_free(x);
    cubby_images_close(images);
    return tear_down(state);
}

static void host_and_images(void)
{
    struct cubby_images *opened;
    struct cubby_image *image, **all;
    struct cubby_check found;
    const char *const names[] = {"nothing", NULL}, *const none[] = {NULL};
    assert_non_null(cubby_version());
    note("cubby_version");
    assert_string_equal(cubby_code_name(INT_MIN), "unknown");
    note("cubby_code_name");
    REFUSES(cubby_doctor, NULL, NULL, ep);
    GIVES(0, cubby_report_usable, NULL);
    GIVES(0, cubby_report_count, NULL);
    REFUSES(cubby_report_check, NULL, 0, &found);
    REFUSES(cubby_report_check, report, 0, NULL);
    REFUSES(cubby_report_check, report, SIZE_MAX, &found);
    assert_string_equal(cubby_report_json(NULL), "{}");
    note("cubby_report_json");
    BEARS(cubby_report_free);
    REFUSES(cubby_images_open, NULL, NULL, ep);
    opened = images;
    GIVES(0, cubby_images_open, &opened, NULL, ep);
    cubby_images_close(opened);
    BEARS(cubby_images_close);
    GIVES(0, cubby_image_json, NULL, 0);
    BEARS(cubby_image_free);
    REFUSES(cubby_images_pull, NULL, "nothing", &never, &image, NULL, ep);
    REFUSES(cubby_images_pull, images, NULL, &never, &image, NULL, ep);
    GIVES(CUBBY_EIMAGE_NOT_FOUND, cubby_images_pull, images, "nothing", &never, NULL, NULL, ep);
    REFUSES(cubby_images_inspect, NULL, "nothing", NULL, &image, ep);
    REFUSES(cubby_images_inspect, images, NULL, NULL, &image, ep);
    REFUSES(cubby_images_inspect, images, "nothing", NULL, NULL, ep);
    REFUSES(cubby_images_list, NULL, &all, ep);
    REFUSES(cubby_images_list, images, NULL, ep);
    BEARS(cubby_images_list_free);
    REFUSES(cubby_images_remove, NULL, "nothing", NULL, ep);
    REFUSES(cubby_images_remove, images, NULL, NULL, ep);
    REFUSES(cubby_images_prune, NULL, NULL, NULL, ep);
    GIVES(0, cubby_images_prune, images, NULL, NULL, ep);
    REFUSES(cubby_images_load, NULL, "nothing", NULL, ep);
    REFUSES(cubby_images_load, images, NULL, NULL, ep);
    REFUSES(cubby_images_save, NULL, names, NULL, 2, 0, ep);
    REFUSES(cubby_images_save, images, NULL, NULL, 2, 0, ep);
    REFUSES(cubby_images_save, images, none, NULL, 2, 0, ep);
    REFUSES(cubby_images_save, images, names, NULL, -1, 0, ep);
}

static void boxes(void)
{
    char text[8];
    struct cubby_mark mark;
    REFUSES(cubby_box_create, NULL, NULL, ep);
    REFUSES(cubby_box_start, NULL, ep);
    REFUSES(cubby_box_wait_ready, NULL, 0, ep);
    REFUSES(cubby_box_wait_ended, NULL, 0, ep);
    REFUSES(cubby_box_fd, NULL);
    REFUSES(cubby_box_state, NULL);
    REFUSES(cubby_box_failure, NULL, ep);
    GIVES(0, cubby_box_failure, box, ep);
    REFUSES(cubby_box_stop, NULL, 0, ep);
    REFUSES(cubby_box_stop, box, -1, ep);
    BEARS(cubby_box_destroy);
    assert_string_equal(cubby_box_id(NULL), "");
    note("cubby_box_id");
    GIVES(0, cubby_box_pid, NULL);
    GIVES(0, cubby_box_console, NULL, text, sizeof(text));
    GIVES(0, cubby_box_console, box, NULL, sizeof(text));
    GIVES(0, cubby_box_console, box, text, 0);
    REFUSES(cubby_box_timeline, NULL, &mark, 1, ep);
    REFUSES(cubby_box_timeline, box, NULL, 1, ep);
    GIVES(0, cubby_box_timeline_json, NULL);
}

static void executions(void)
{
    struct cubby_exec *started = x;
    struct cubby_output output = {.size = sizeof(output)};
    struct cubby_exec_options nothing = {.size = sizeof(nothing)};
    char byte;
    REFUSES(cubby_exec_start, NULL, box, &what, ep);
    REFUSES(cubby_exec_start, &started, NULL, &what, ep);
    REFUSES(cubby_exec_start, &started, box, NULL, ep);
    REFUSES(cubby_exec_start, &started, box, &nothing, ep);
    assert_null(started);
    REFUSES(cubby_run, NULL, &what, &output, ep);
    REFUSES(cubby_run, box, NULL, &output, ep);
    REFUSES(cubby_run, box, &what, NULL, ep);
    REFUSES(cubby_run, box, &nothing, &output, ep);
    BEARS(cubby_output_free);
    cubby_output_free(&output);
    REFUSES(cubby_exec_fd, NULL);
    REFUSES(cubby_exec_poll, NULL, 0, 0);
    REFUSES(cubby_exec_read, NULL, CUBBY_STDOUT, &byte, 1);
    REFUSES(cubby_exec_read, x, CUBBY_STDOUT, NULL, 1);
    REFUSES(cubby_exec_read, x, CUBBY_STDIN, &byte, 1);
    REFUSES(cubby_exec_read, x, -1, &byte, 1);
    REFUSES(cubby_exec_close_output, NULL, CUBBY_STDOUT);
    REFUSES(cubby_exec_close_output, x, 3);
    REFUSES(cubby_exec_write, NULL, "x", 1);
    REFUSES(cubby_exec_write, x, NULL, 1);
    REFUSES(cubby_exec_close_stdin, NULL);
    REFUSES(cubby_exec_signal, NULL, 1, 0);
    REFUSES(cubby_exec_signal, x, 0, 0);
    REFUSES(cubby_exec_signal, x, 65, 0);
    REFUSES(cubby_exec_resize, NULL, 1, 1);
    REFUSES(cubby_exec_resize, x, 65536, 1);
    GIVES(CUBBY_ESTATE, cubby_exec_resize, x, 1, 1);
    REFUSES(cubby_exec_kill, NULL);
    REFUSES(cubby_exec_wait, NULL, 0, NULL, ep);
    GIVES(CUBBY_ETIMEOUT, cubby_exec_wait, x, 0, NULL, ep);
    BEARS(cubby_exec_free);
}

static void detached_executions_and_files(void)
{
    struct cubby_exec *attached = x;
    struct cubby_exec_list *listed = list;
    struct cubby_exec_info info = {.size = sizeof(info)};
    GIVES(0, cubby_exec_id, NULL);
    GIVES(0, cubby_exec_lost, NULL, CUBBY_STDOUT);
    GIVES(0, cubby_exec_lost, x, CUBBY_STDIN);
    REFUSES(cubby_exec_attach, NULL, box, 1, NULL, ep);
    REFUSES(cubby_exec_attach, &attached, NULL, 1, NULL, ep);
    assert_null(attached);
    REFUSES(cubby_exec_list, NULL, box, 0, ep);
    REFUSES(cubby_exec_list, &listed, NULL, 0, ep);
    assert_null(listed);
    GIVES(0, cubby_exec_list_count, NULL);
    REFUSES(cubby_exec_list_get, NULL, 0, &info);
    REFUSES(cubby_exec_list_get, list, 0, NULL);
    REFUSES(cubby_exec_list_get, list, SIZE_MAX, &info);
    BEARS(cubby_exec_list_free);
    REFUSES(cubby_exec_remove, NULL, 1, 0, 0, NULL, ep);
    REFUSES(cubby_copy_in, NULL, place.tmp, "/tmp", NULL, NULL, ep);
    REFUSES(cubby_copy_in, box, NULL, "/tmp", NULL, NULL, ep);
    REFUSES(cubby_copy_in, box, place.tmp, NULL, NULL, NULL, ep);
    REFUSES(cubby_copy_out, NULL, "/tmp", place.tmp, NULL, NULL, ep);
    REFUSES(cubby_copy_out, box, NULL, place.tmp, NULL, NULL, ep);
    REFUSES(cubby_copy_out, box, "/tmp", NULL, NULL, NULL, ep);
}

static void null_is_an_error_and_never_a_crash(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        ep = i == 0 ? &e : NULL;
        host_and_images();
        boxes();
        executions();
        detached_executions_and_files();
    }
    /* And what was right all the time still works. */
    assert_int_equal(cubby_box_state(box), CUBBY_RUNNING);
    assert_int_equal(cubby_exec_poll(x, 0, 0) & (CUBBY_IS_STARTED | CUBBY_IS_ENDED), CUBBY_IS_STARTED);
}

/* ---- sizes
 * ---------------------------------------------------------------------------------------------------*/

/* Bytes where a struct of any size may be. */
static union {
    size_t size;
    unsigned char bytes[128 * 1024];
} room;

#define CALL(name, call)                                                                                     \
    static int name(void *s)                                                                                 \
    {                                                                                                        \
        return call;                                                                                         \
    }
/* The same for calls that make something, which goes again. */
#define MAKES(name, type, free_it, call)                                                                     \
    static int name(void *s)                                                                                 \
    {                                                                                                        \
        struct type *out = NULL;                                                                             \
        int ret = call;                                                                                      \
        free_it(out);                                                                                        \
        return ret;                                                                                          \
    }

MAKES(doctor_options, cubby_report, cubby_report_free, cubby_doctor(&out, s, &e))
MAKES(images_options, cubby_images, cubby_images_close, cubby_images_open(&out, s, &e))
MAKES(box_options, cubby_box, cubby_box_destroy, cubby_box_create(&out, s, &e))
MAKES(exec_options, cubby_exec, cubby_exec_free, cubby_exec_start(&out, box, s, &e))
MAKES(attach_options, cubby_exec, cubby_exec_free, cubby_exec_attach(&out, box, 99, s, &e))
CALL(pull_options, cubby_images_pull(images, "nothing", s, NULL, NULL, &e))
CALL(pull_counts, cubby_images_pull(images, "nothing", &never, NULL, s, &e))
CALL(prune_options, cubby_images_prune(images, s, NULL, &e))
CALL(prune_counts, cubby_images_prune(images, NULL, s, &e))
CALL(load_options, cubby_images_load(images, "/nonexistent", s, &e))
CALL(wait_result, cubby_exec_wait(x, 0, s, &e))
CALL(remove_result, cubby_exec_remove(box, 99, 0, PATIENCE_MS, s, &e))
CALL(info, cubby_exec_list_get(list, 0, s))
CALL(in_options, cubby_copy_in(box, "/nonexistent", "/tmp", s, NULL, &e))
CALL(in_result, cubby_copy_in(box, "/nonexistent", "/tmp", NULL, s, &e))
CALL(out_options, cubby_copy_out(box, "/nonexistent", place.tmp, s, NULL, &e))
CALL(out_result, cubby_copy_out(box, "/nonexistent", place.tmp, NULL, s, &e))

/* A box is given the options of a pull in its own. */
static int box_pull_options(void *s)
{
    struct cubby_box_options o = {.size = sizeof(o), .image = "nothing", .images = images, .pull = s};
    return box_options(&o);
}
static int run_options(void *s)
{
    struct cubby_output output = {.size = sizeof(output)};
    int ret = cubby_run(box, s, &output, &e);
    cubby_output_free(&output);
    return ret;
}
static int run_output(void *s)
{
    int ret = cubby_run(box, &what, s, &e);
    if (ret == 0)
        cubby_output_free(s);
    return ret;
}

static const struct cubby_box_options no_assets = {.assets = "/nonexistent"};

/* The structs, each with a call that takes it and what comes of that when the size is right. */
static const struct sized {
    const char *type;
    size_t now;
    int (*call)(void *s);
    int good;
    const void *from; /* with these members */
    size_t first;     /* its size in the first release; 0: `now` */
    bool result;      /* the library fills it in: any size that has the member `size` will do */
} sized[] = {
#define TYPE(type) #type, sizeof(struct type)
    {TYPE(cubby_doctor_options), doctor_options, .good = 0},
    {TYPE(cubby_images_options), images_options, .good = 0},
    {TYPE(cubby_pull_options), pull_options, .good = CUBBY_EIMAGE_NOT_FOUND, .from = &never},
    {TYPE(cubby_pull_options), box_pull_options, .good = CUBBY_EIMAGE_NOT_FOUND, .from = &never},
    {TYPE(cubby_pull_counts), pull_counts, .good = CUBBY_EIMAGE_NOT_FOUND, .result = true},
    {TYPE(cubby_prune_options), prune_options, .good = 0},
    {TYPE(cubby_prune_counts), prune_counts, .good = 0, .result = true},
    {TYPE(cubby_load_options), load_options, .good = CUBBY_EIMAGE_NOT_FOUND},
    {TYPE(cubby_box_options), box_options, .good = CUBBY_ECONFIG, .from = &no_assets,
     .first = offsetof(struct cubby_box_options, image)},
    {TYPE(cubby_exec_options), exec_options, .good = 0, .from = &what,
     .first = offsetof(struct cubby_exec_options, entrypoint)},
    {TYPE(cubby_exec_options), run_options, .good = 0, .from = &what,
     .first = offsetof(struct cubby_exec_options, entrypoint)},
    {TYPE(cubby_output), run_output, .good = 0},
    {TYPE(cubby_attach_options), attach_options, .good = 0},
    {TYPE(cubby_result), wait_result, .good = CUBBY_ETIMEOUT, .result = true},
    {TYPE(cubby_result), remove_result, .good = CUBBY_ENOTFOUND, .result = true},
    {TYPE(cubby_exec_info), info, .good = 0, .result = true},
    {TYPE(cubby_copy_options), in_options, .good = CUBBY_ENOTFOUND},
    {TYPE(cubby_copy_options), out_options, .good = CUBBY_ENOTFOUND},
    {TYPE(cubby_copy_result), in_result, .good = CUBBY_ENOTFOUND, .result = true},
    {TYPE(cubby_copy_result), out_result, .good = CUBBY_ENOTFOUND, .result = true},
};

static size_t least_of(const struct sized *s)
{
    return s->result ? sizeof(size_t) : s->first ? s->first : s->now;
}

/* The call with a struct of this size, the byte behind the library's own being `tail`. */
static void try(const struct sized *s, size_t size, unsigned char tail, int wanted)
{
    memset(&room, 0, sizeof(room));
    if (s->from)
        memcpy(&room, s->from, s->now);
    room.size = size;
    room.bytes[s->now] = tail;
    memset(&e, 0, sizeof(e));
    int ret = s->call(&room);
    if (ret != wanted)
        fail_msg("struct %s of size %zu: %s, not %s: %s", s->type, size, cubby_code_name(ret),
                 cubby_code_name(wanted), e.message);
    if (wanted == 0 && room.size != size)
        fail_msg("struct %s of size %zu has size %zu then", s->type, size, room.size);
}

static void structs_of_a_wrong_size_are_refused(void **state)
{
    (void)state;
    for (const struct sized *s = sized; s < sized + ARRAY_LEN(sized); s++) {
        const size_t wrong[] = {0, 1, 4, least_of(s) - 1, 65537, SIZE_MAX};
        for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
            try(s, wrong[i], 0, CUBBY_EARGUMENT);
        note(s->type);
    }
}

static void structs_of_older_and_newer_headers_are_taken(void **state)
{
    (void)state;
    for (const struct sized *s = sized; s < sized + ARRAY_LEN(sized); s++) {
        try(s, least_of(s), 0, s->good);
        try(s, s->now, 0xA5, s->good); /* what is behind it is not looked at */
        assert_int_equal(room.bytes[s->now], 0xA5);
        try(s, s->now + 64, 0, s->good);
        if (!s->result) /* set by a newer program, and it matters */
            try(s, s->now + 64, 1, CUBBY_EARGUMENT);
    }
}

/* ---- nothing is left out
 * -------------------------------------------------------------------------------------*/

/* tests/library/abi.txt of the tree that this program was built in. */
static FILE *open_list(void)
{
    static const char name[] = "tests/library/abi.txt";
    char path[sizeof(self) + sizeof(name)];
    FILE *f = NULL;
    snprintf(path, sizeof(path), "%s", self);
    for (char *slash; !f && (slash = strrchr(path, '/'));) {
        snprintf(slash + 1, sizeof(name), "%s", name);
        f = fopen(path, "re");
        *slash = '\0';
    }
    return f;
}

static bool was_tried(const char *name, size_t len)
{
    char line[128];
    snprintf(line, sizeof(line), "\n%.*s\n", (int)len, name);
    return strstr(seen, line);
}

static void every_function_and_sized_struct_was_tried(void **state)
{
    (void)state;
    char line[1024];
    int functions = 0, structs = 0;
    FILE *f = open_list();
    assert_non_null(f);
    while (fgets(line, sizeof(line), f)) {
        const char *name = strstr(line, "cubby_");
        if (strncmp(line, "symbol ", 7) == 0) {
            size_t len = strcspn(name, "@");
            if (!was_tried(name, len))
                fail_msg("%.*s() has no line in this test", (int)len, name);
            functions++;
        } else if (strstr(line, ": at 0: size_t size\n")) {
            size_t len = strcspn(name, ":");
            if (!was_tried(name, len))
                fail_msg("struct %.*s has no line in this test", (int)len, name);
            structs++;
        }
    }
    fclose(f);
    assert_true(functions > 50 && structs > 10);
}

int main(int argc, char **argv)
{
    if (is_fake_vmm(argv) && argv[1] && strcmp(argv[1], "--probe") == 0)
        return fake_probe();
    int code = other_main(argc, argv);
    if (code >= 0)
        return code;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(null_is_an_error_and_never_a_crash),
        cmocka_unit_test(structs_of_a_wrong_size_are_refused),
        cmocka_unit_test(structs_of_older_and_newer_headers_are_taken),
        cmocka_unit_test(every_function_and_sized_struct_was_tried), /* by those above */
    };
    return cmocka_run_group_tests(tests, set_up_all, tear_down_all);
}
