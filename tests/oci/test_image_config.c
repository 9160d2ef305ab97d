/* SPDX-License-Identifier: Apache-2.0 */
/* Image configurations: what is read, what is refused, and how they combine with the user's wishes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/own.h"
#include "oci/image_config.h"
#include "oci/oci_error.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#define D1           "sha256:1111111111111111111111111111111111111111111111111111111111111111"
#define D2           "sha256:2222222222222222222222222222222222222222222222222222222222222222"
#define ROOTFS       "\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"" D1 "\",\"" D2 "\"]}"
#define RUN(members) "{\"config\":{" members "}," ROOTFS "}"

static int parse(struct image_config *c, const char *text, struct err *e)
{
    struct oci_limits l;
    oci_limits_init(&l);
    return image_config_parse(c, text, strlen(text), &l, e);
}

static void everything_is_read(void **state)
{
    (void)state;
    static const char text[] =
        "{\"architecture\":\"amd64\",\"os\":\"linux\",\"created\":\"2024-01-02T03:04:05.6Z\",\"author\":"
        "\"A\","
        "\"config\":{\"User\":\"1000:users\",\"ExposedPorts\":{\"80/tcp\":{},\"53/udp\":{}},"
        "\"Env\":[\"PATH=/bin\",\"A=b=c\"],\"Entrypoint\":[\"/entry\",\"-x\"],\"Cmd\":[\"run\",\"\"],"
        "\"Volumes\":{\"/v\":{},\"/a\":null},\"WorkingDir\":\"/w\",\"StopSignal\":\"SIGQUIT\","
        "\"Labels\":{\"b\":\"2\",\"a\":\"\"},\"OnBuild\":null,\"Unknown\":{\"x\":[1]}}," ROOTFS
        ",\"history\":[{\"created\":\"t\",\"created_by\":\"ADD\",\"comment\":\"c\"},{\"empty_layer\":true}]}";
    struct image_config c;
    struct err e = {0};
    assert_int_equal(parse(&c, text, &e), 0);
    assert_string_equal(c.platform.arch, "amd64");
    assert_string_equal(c.created, "2024-01-02T03:04:05.6Z");
    assert_string_equal(c.author, "A");
    assert_string_equal(c.user, "1000:users");
    assert_string_equal(c.exposed_ports[0], "53/udp");
    assert_string_equal(c.exposed_ports[1], "80/tcp");
    assert_null(c.exposed_ports[2]);
    assert_string_equal(c.env[1], "A=b=c");
    assert_null(c.env[2]);
    assert_string_equal(c.entrypoint[1], "-x");
    assert_string_equal(c.cmd[1], "");
    assert_null(c.cmd[2]);
    assert_string_equal(c.volumes[0], "/a");
    assert_string_equal(c.workdir, "/w");
    assert_string_equal(c.stop_signal, "SIGQUIT");
    assert_int_equal(c.nlabels, 2);
    assert_string_equal(c.label[0].name, "a");
    assert_string_equal(c.label[0].value, "");
    assert_string_equal(c.label[1].value, "2");
    assert_int_equal(c.ndiff_ids, 2);
    assert_string_equal(c.diff_id[1].text, D2);
    assert_int_equal(c.nhistory, 2);
    assert_string_equal(c.history[0].created_by, "ADD");
    assert_false(c.history[0].empty_layer);
    assert_true(c.history[1].empty_layer);
    assert_null(c.history[1].comment);
    image_config_fini(&c);
    image_config_fini(&c);
}

static void what_is_empty_is_not_there(void **state)
{
    (void)state;
    static const char *const text[] = {
        "{" ROOTFS "}",
        "{\"config\":null," ROOTFS ",\"history\":null}",
        RUN("\"User\":\"\",\"Env\":null,\"Cmd\":[],\"Entrypoint\":\"\",\"Volumes\":null,\"ExposedPorts\":{},"
            "\"Labels\":{},"
            "\"WorkingDir\":\"\",\"StopSignal\":\"\""),
    };
    for (size_t i = 0; i < ARRAY_LEN(text); i++) {
        struct image_config c;
        assert_int_equal(parse(&c, text[i], NULL), 0);
        assert_null(c.user);
        assert_null(c.env);
        assert_null(c.cmd);
        assert_null(c.entrypoint);
        assert_null(c.volumes);
        assert_null(c.exposed_ports);
        assert_null(c.label);
        assert_null(c.workdir);
        assert_null(c.stop_signal);
        image_config_fini(&c);
    }
}

static void old_builders_wrote_words_as_one(void **state)
{
    (void)state;
    struct image_config c;
    assert_int_equal(parse(&c, RUN("\"Entrypoint\":\"/bin/sh -c\",\"Cmd\":\"x\""), NULL), 0);
    assert_string_equal(c.entrypoint[0], "/bin/sh -c");
    assert_null(c.entrypoint[1]);
    assert_string_equal(c.cmd[0], "x");
    image_config_fini(&c);
}

static void wrong_types_are_named(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int code;
        const char *why;
    } bad[] = {
        {"[]", OCI_E_FORMAT, "not an object"},
        {"{}", OCI_E_FORMAT, "rootfs is missing"},
        {"{\"rootfs\":[]}", OCI_E_FORMAT, "rootfs is not an object"},
        {"{\"rootfs\":{}}", OCI_E_FORMAT, "rootfs.type is missing"},
        {"{\"rootfs\":{\"type\":\"disk\"}}", OCI_E_UNSUPPORTED, "'disk'"},
        {"{\"rootfs\":{\"type\":\"layers\",\"diff_ids\":{}}}", OCI_E_FORMAT, "rootfs.diff_ids is not a list"},
        {"{\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[7]}}", OCI_E_FORMAT,
         "rootfs.diff_ids[0] is not a string"},
        {"{\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"" D1 "\",\"x\"]}}", OCI_E_FORMAT,
         "rootfs.diff_ids[1]: 'x'"},
        {"{\"config\":[]," ROOTFS "}", OCI_E_FORMAT, "config is not an object"},
        {RUN("\"Env\":\"A=b\""), OCI_E_FORMAT, "config.Env is not a list"},
        {RUN("\"Env\":[\"A=b\",7]"), OCI_E_FORMAT, "config.Env[1] is not a string"},
        {RUN("\"Env\":[\"A=b\",null]"), OCI_E_FORMAT, "config.Env[1] is not a string"},
        {RUN("\"User\":1000"), OCI_E_FORMAT, "config.User is not a string"},
        {RUN("\"WorkingDir\":[]"), OCI_E_FORMAT, "config.WorkingDir"},
        {RUN("\"Cmd\":{}"), OCI_E_FORMAT, "config.Cmd"},
        {RUN("\"Entrypoint\":[[]]"), OCI_E_FORMAT, "config.Entrypoint[0]"},
        {RUN("\"StopSignal\":9"), OCI_E_FORMAT, "config.StopSignal"},
        {RUN("\"Volumes\":[\"/v\"]"), OCI_E_FORMAT, "config.Volumes is not an object"},
        {RUN("\"ExposedPorts\":[80]"), OCI_E_FORMAT, "config.ExposedPorts"},
        {RUN("\"Labels\":[]"), OCI_E_FORMAT, "config.Labels is not an object"},
        {RUN("\"Labels\":{\"a\":\"b\",\"c\":1}"), OCI_E_FORMAT, "config.Labels[\"c\"]"},
        {RUN("\"User\":\"a\",\"User\":\"b\""), OCI_E_FORMAT, "duplicate"},
        {"{\"os\":1," ROOTFS "}", OCI_E_FORMAT, "os is not a string"},
        {"{\"architecture\":\"a/b\"," ROOTFS "}", OCI_E_FORMAT, "architecture"},
        {"{\"created\":1," ROOTFS "}", OCI_E_FORMAT, "created"},
        {"{" ROOTFS ",\"history\":{}}", OCI_E_FORMAT, "history is not a list"},
        {"{" ROOTFS ",\"history\":[{},7]}", OCI_E_FORMAT, "history[1] is not an object"},
        {"{" ROOTFS ",\"history\":[{\"created_by\":\"x\",\"comment\":7}]}", OCI_E_FORMAT,
         "history[0].comment"},
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct image_config c;
        struct err e = {0};
        int ret = parse(&c, bad[i].text, &e);
        if (ret != bad[i].code || !strstr(e.text, bad[i].why))
            fail_msg("%s\n gave %d: %s", bad[i].text, ret, e.text);
        assert_null(c.diff_id);
        assert_null(c.env);
    }
}

static void limits_hold(void **state)
{
    (void)state;
    struct oci_limits l;
    struct image_config c;
    struct err e = {0};
    oci_limits_init(&l);
    l.layers = 1;
    assert_int_equal(image_config_parse(&c, "{" ROOTFS "}", strlen("{" ROOTFS "}"), &l, &e), OCI_E_LIMIT);
    assert_non_null(strstr(e.text, "limit layers"));
    oci_limits_init(&l);
    l.config_bytes = 10;
    assert_int_equal(image_config_parse(&c, "{" ROOTFS "}", strlen("{" ROOTFS "}"), &l, &e), OCI_E_LIMIT);
    assert_non_null(strstr(e.text, "limit config_bytes"));
    char *text = malloc(200000);
    assert_non_null(text);
    strcpy(text, "{" ROOTFS ",\"config\":{\"Env\":[\"\"");
    for (int i = 0; i < 10000; i++)
        strcat(text + 4 * i, ",\"a\"");
    strcat(text, "]}}");
    assert_int_equal(parse(&c, text, &e), OCI_E_LIMIT);
    assert_non_null(strstr(e.text, "config.Env has 10001 entries"));
    free(text);
}

/* Words separated by blanks as a list; "-" is NULL, "" is an empty list. */
static const char *const *words(const char *text, char *store, const char **list)
{
    if (strcmp(text, "-") == 0)
        return NULL;
    size_t count = 0;
    strcpy(store, text);
    for (char *word = strtok(store, " "); word; word = strtok(NULL, " "))
        list[count++] = word;
    list[count] = NULL;
    return list;
}

static void joined(char *const *list, char *out)
{
    out[0] = '\0';
    for (size_t i = 0; list[i]; i++)
        sprintf(out + strlen(out), "%s%s", i ? " " : "", list[i]);
}

static void the_command_line_follows_dockers_rules(void **state)
{
    (void)state;
    static const struct {
        const char *image_entrypoint, *image_cmd, *entrypoint, *args, *result; /* NULL: nothing to run */
    } row[] = {
        {"-", "-", "-", "-", NULL},
        {"-", "bash", "-", "-", "bash"},
        {"-", "bash -l", "-", "ls /", "ls /"},
        {"-", "bash", "-", "", "bash"},
        {"entry", "-", "-", "-", "entry"},
        {"entry -v", "serve", "-", "-", "entry -v serve"},
        {"entry -v", "serve", "-", "other x", "entry -v other x"},
        {"entry", "-", "-", "a b", "entry a b"},
        {"entry -v", "serve", "sh", "-", "sh"},
        {"entry -v", "serve", "sh", "-c x", "sh -c x"},
        {"-", "serve", "sh", "-", "sh"},
        {"entry", "serve", "", "-", NULL},
        {"entry", "serve", "", "ls", "ls"},
        {"-", "-", "-", "ls", "ls"},
    };
    for (size_t i = 0; i < ARRAY_LEN(row); i++) {
        char s[4][64], text[256];
        const char *l[4][8];
        struct image_config c = {.entrypoint = (char **)words(row[i].image_entrypoint, s[0], l[0]),
                                 .cmd = (char **)words(row[i].image_cmd, s[1], l[1])};
        char **argv = NULL;
        struct err e = {0};
        int ret = image_config_argv(&c, words(row[i].entrypoint, s[2], l[2]), words(row[i].args, s[3], l[3]),
                                    &argv, &e);
        if (!row[i].result) {
            assert_int_equal(ret, -EINVAL);
            assert_non_null(strstr(e.text, "no command"));
            continue;
        }
        assert_int_equal(ret, 0);
        joined(argv, text);
        assert_string_equal(text, row[i].result);
        free(argv);
    }
}

static void settings_replace_in_place(void **state)
{
    (void)state;
    static const struct {
        const char *image, *set, *result;
    } row[] = {
        {"-", "-", ""},
        {"A=1 B=2", "-", "A=1 B=2"},
        {"A=1 B=2", "A=3", "A=3 B=2"},
        {"A=1 B=2", "C=", "A=1 B=2 C="},
        {"A=1 B=2 C=3", "B", "A=1 C=3"},
        {"A=1", "NOSUCH", "A=1"},
        {"A=1 A=2", "-", "A=2"},
        {"A=1 odd =x B=2", "-", "A=1 B=2"},
        {"AB=1", "A=2", "AB=1 A=2"},
        {"A=1", "A A=x=y", "A=x=y"},
    };
    for (size_t i = 0; i < ARRAY_LEN(row); i++) {
        char s[2][64], text[256];
        const char *l[2][8];
        struct image_config c = {.env = (char **)words(row[i].image, s[0], l[0])};
        char **env = NULL;
        assert_int_equal(image_config_env(&c, words(row[i].set, s[1], l[1]), &env, NULL), 0);
        joined(env, text);
        assert_string_equal(text, row[i].result);
        free(env);
    }
    const char *const bad[] = {"=x", NULL}, *const empty[] = {"", NULL};
    struct image_config c = {0};
    struct err e = {0};
    char **env = NULL;
    assert_int_equal(image_config_env(&c, bad, &env, &e), -EINVAL);
    assert_non_null(strstr(e.text, "'=x'"));
    assert_int_equal(image_config_env(&c, empty, &env, &e), -EINVAL);
}

static void stop_signals_have_numbers(void **state)
{
    (void)state;
    const struct {
        const char *text;
        int number;
    } row[] = {
        {NULL, SIGTERM},
        {"SIGQUIT", SIGQUIT},
        {"quit", SIGQUIT},
        {"3", 3},
        {"SIGKILL", 9},
        {"CLD", SIGCHLD},
        {"SIGRTMIN", SIGRTMIN},
        {"SIGRTMIN+3", SIGRTMIN + 3},
        {"RTMAX-1", SIGRTMAX - 1},
        {"64", 64},
        {"0", -EINVAL},
        {"65", -EINVAL},
        {"-1", -EINVAL},
        {"3x", -EINVAL},
        {"", -EINVAL},
        {"SIG", -EINVAL},
        {"SIGNOSUCH", -EINVAL},
        {"SIGRTMIN+99", -EINVAL},
        {"SIGRTMIN3", -EINVAL},
        {"SIGRTMIN+3x", -EINVAL},
        {"SIGRTMAX+1", -EINVAL},
        {"SIGRTMIN-1", -EINVAL},
    };
    for (size_t i = 0; i < ARRAY_LEN(row); i++) {
        struct image_config c = {.stop_signal = (char *)row[i].text};
        struct err e = {0};
        int ret = image_config_stop_signal(&c, &e);
        if (ret != row[i].number)
            fail_msg("'%s' is %d", row[i].text, ret);
        assert_true(ret > 0 || strstr(e.text, row[i].text));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_is_read),
        cmocka_unit_test(what_is_empty_is_not_there),
        cmocka_unit_test(old_builders_wrote_words_as_one),
        cmocka_unit_test(wrong_types_are_named),
        cmocka_unit_test(limits_hold),
        cmocka_unit_test(the_command_line_follows_dockers_rules),
        cmocka_unit_test(settings_replace_in_place),
        cmocka_unit_test(stop_signals_have_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
