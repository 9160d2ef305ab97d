/* SPDX-License-Identifier: Apache-2.0 */
/* Local sources: layouts, `docker save` archives and root file systems are loaded; hostile ones are refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "store_place.h"

#include "oci/source.h"

#include <archive.h>
#include <archive_entry.h>
#include <signal.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>

/* --- Tars made entry by entry --- */

struct tar {
    char path[512];
    struct archive *a;
};

static void tar_begin(struct tar *t, const struct place *p, const char *name, int filter)
{
    snprintf(t->path, sizeof(t->path), "%s/%s", p->dir, name);
    t->a = archive_write_new();
    archive_write_set_format_pax_restricted(t->a);
    archive_write_add_filter(t->a, filter);
    assert_int_equal(archive_write_open_filename(t->a, t->path), ARCHIVE_OK);
}

static void tar_entry(struct tar *t, const char *name, unsigned type, const char *link, const char *data)
{
    struct archive_entry *entry = archive_entry_new();
    archive_entry_set_pathname(entry, name);
    archive_entry_set_mode(entry, (mode_t)(type | 0644));
    archive_entry_set_size(entry, data ? (la_int64_t)strlen(data) : 0);
    if (link && type == AE_IFLNK)
        archive_entry_set_symlink(entry, link);
    else if (link)
        archive_entry_set_hardlink(entry, link);
    assert_int_equal(archive_write_header(t->a, entry), ARCHIVE_OK);
    if (data)
        assert_int_equal(archive_write_data(t->a, data, strlen(data)), strlen(data));
    archive_entry_free(entry);
}

static void tar_file(struct tar *t, const char *name, const char *data)
{
    tar_entry(t, name, AE_IFREG, NULL, data);
}

static void tar_end(struct tar *t)
{
    assert_int_equal(archive_write_free(t->a), ARCHIVE_OK);
}

/* --- An image as texts --- */

#define LAYER_A "the first layer"
#define LAYER_B "the second layer"
#define LAYOUT  "{\"imageLayoutVersion\":\"1.0.0\"}"

struct texts {
    char config[1024], manifest[1024], index[2048], list[1024];
    char layer_a[80], layer_b[80], config_name[80], manifest_name[80]; /* "blobs/sha256/…" */
    struct digest a, b, config_digest, manifest_digest;
};

static void blob_name(char out[80], const struct digest *d)
{
    snprintf(out, 80, "blobs/sha256/%s", digest_hex(d));
}

/* `ref` is the annotation of the index's one entry: "" for none. */
static struct texts make_texts(const char *ref, const char *arch)
{
    struct texts x;
    x.a = digest_of_text(LAYER_A);
    x.b = digest_of_text(LAYER_B);
    snprintf(x.config, sizeof(x.config),
             "{\"architecture\":\"%s\",\"os\":\"linux\",\"config\":{\"Cmd\":[\"x\"]},"
             "\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"%s\",\"%s\"]}}",
             arch, x.a.text, x.b.text);
    x.config_digest = digest_of_text(x.config);
    snprintf(x.manifest, sizeof(x.manifest),
             "{\"schemaVersion\":2,\"config\":{\"mediaType\":\"" MEDIA_OCI_CONFIG
             "\",\"digest\":\"%s\",\"size\":%zu},\"layers\":["
             "{\"mediaType\":\"" MEDIA_OCI_LAYER "\",\"digest\":\"%s\",\"size\":%zu},"
             "{\"mediaType\":\"" MEDIA_OCI_LAYER "\",\"digest\":\"%s\",\"size\":%zu}]}",
             x.config_digest.text, strlen(x.config), x.a.text, strlen(LAYER_A), x.b.text, strlen(LAYER_B));
    x.manifest_digest = digest_of_text(x.manifest);
    int n = snprintf(x.index, sizeof(x.index),
                     "{\"schemaVersion\":2,\"manifests\":[{\"mediaType\":\"" MEDIA_OCI_MANIFEST
                     "\",\"digest\":\"%s\",\"size\":%zu",
                     x.manifest_digest.text, strlen(x.manifest));
    if (*ref)
        n += snprintf(x.index + n, sizeof(x.index) - (size_t)n,
                      ",\"annotations\":{\"org.opencontainers.image.ref.name\":\"%s\"}", ref);
    strcpy(x.index + n, "}]}");
    snprintf(x.list, sizeof(x.list),
             "[{\"Config\":\"%s.json\",\"RepoTags\":[\"a:1\",\"b/c:2\"],\"Layers\":[\"one/layer.tar\",\"two/"
             "layer.tar\"]}]",
             digest_hex(&x.config_digest));
    blob_name(x.layer_a, &x.a);
    blob_name(x.layer_b, &x.b);
    blob_name(x.config_name, &x.config_digest);
    blob_name(x.manifest_name, &x.manifest_digest);
    return x;
}

static void tar_blobs(struct tar *t, const struct texts *x)
{
    tar_entry(t, "blobs/", AE_IFDIR, NULL, NULL);
    tar_file(t, x->layer_a, LAYER_A);
    tar_file(t, x->layer_b, LAYER_B);
    tar_file(t, x->config_name, x->config);
    tar_file(t, x->manifest_name, x->manifest);
}

static void tar_layout(struct tar *t, const struct texts *x)
{
    tar_blobs(t, x);
    tar_file(t, "oci-layout", LAYOUT);
    tar_file(t, "index.json", x->index);
}

static void write_in(const struct place *p, const char *folder, const char *name, const char *text)
{
    char path[600], command[700];
    snprintf(path, sizeof(path), "%s/%s/%s", p->dir, folder, name);
    snprintf(command, sizeof(command), "mkdir -p \"$(dirname '%s')\"", path);
    assert_int_equal(system(command), 0);
    place_write(path, text);
}

static void folder_layout(const struct place *p, const char *folder, const struct texts *x)
{
    write_in(p, folder, "oci-layout", LAYOUT);
    write_in(p, folder, "index.json", x->index);
    write_in(p, folder, x->layer_a, LAYER_A);
    write_in(p, folder, x->layer_b, LAYER_B);
    write_in(p, folder, x->config_name, x->config);
    write_in(p, folder, x->manifest_name, x->manifest);
}

/* --- Loading --- */

struct loaded {
    int count;
    char names[1024]; /* separated by blanks */
    struct image_ref last;
};

static void note(void *context, const struct image_ref *r)
{
    struct loaded *l = context;
    l->count++;
    if (l->names[0])
        strcat(l->names, " ");
    strcat(l->names, r->name);
    image_ref_fini(&l->last);
    assert_int_equal(image_ref_copy(&l->last, r, NULL), 0);
}

static int load_with(struct place *p, const char *path, struct source_options o, struct loaded *l,
                     struct err *e)
{
    *l = (struct loaded){0};
    o.loaded = note;
    o.context = l;
    if (o.cancel_fd == 0)
        o.cancel_fd = -1;
    int ret = source_load(p->lease, path, &o, e);
    assert_true((ret == 0) == (l->count > 0) || ret < 0);
    return ret;
}

/* Loads the file below the place and expects these names. */
static void loads_as(struct place *p, const char *name, struct source_options o, const char *names)
{
    char path[512];
    struct loaded l;
    struct err e = {0};
    snprintf(path, sizeof(path), "%s/%s", p->dir, name);
    if (load_with(p, path, o, &l, &e) != 0)
        fail_msg("%s: %s", name, e.text);
    assert_string_equal(l.names, names);
    image_ref_fini(&l.last);
}

static void fails_with(struct place *p, const char *name, struct source_options o, int code, const char *why)
{
    char path[512];
    struct loaded l;
    struct err e = {0};
    snprintf(path, sizeof(path), "%s/%s", p->dir, name);
    int ret = load_with(p, path, o, &l, &e);
    if (ret != code || !strstr(e.text, why) || !strstr(e.text, path))
        fail_msg("%s gave %d: %s\n instead of %d: %s", name, ret, e.text, code, why);
    assert_int_equal(l.count, 0);
    assert_int_equal(place_count(p, "locks"), 0);
    unlink(path);
}

static const struct source_options plain;

/* The image of make_texts() is in the store, whole. */
static void is_whole(struct place *p, const struct texts *x, const char *name)
{
    struct image_ref r;
    struct platform amd;
    struct manifest m;
    struct image_config c;
    platform_parse(&amd, "amd64", NULL);
    assert_int_equal(store_ref_get(p->store, name, &amd, &r, NULL), 0);
    assert_int_equal(store_manifest_load(p->store, &r.manifest.digest, NULL, &m, NULL), 0);
    assert_int_equal(store_config_load(p->store, &m, NULL, &c, NULL), 0);
    assert_true(digest_equal(&m.config.digest, &x->config_digest));
    assert_int_equal(m.nlayers, 2);
    assert_true(digest_equal(&m.layer[0].digest, &x->a));
    assert_true(store_blob_exists(p->store, &x->a, strlen(LAYER_A)));
    assert_true(store_blob_exists(p->store, &x->b, strlen(LAYER_B)));
    assert_string_equal(c.cmd[0], "x");
    image_config_fini(&c);
    manifest_fini(&m);
    image_ref_fini(&r);
}

static void a_layout_folder_is_loaded(void **state)
{
    struct place *p = *state;
    struct texts x = make_texts("example.org/a:1", "amd64");
    folder_layout(p, "in", &x);
    loads_as(p, "in", plain, "example.org/a:1");
    is_whole(p, &x, "example.org/a:1");
    assert_int_equal(place_count(p, "blobs/sha256"), 4);
    assert_int_equal(place_count(p, "partial"), 0);
    loads_as(p, "in/", plain, "example.org/a:1");
    assert_int_equal(place_count(p, "refs"), 1);
}

static void damaged_documents_come_with_the_next_load(void **state)
{
    struct place *p = *state;
    struct texts x = make_texts("example.org/a:1", "amd64");
    const struct digest *documents[] = {&x.manifest_digest, &x.config_digest};
    folder_layout(p, "in", &x);
    loads_as(p, "in", plain, "example.org/a:1");
    for (size_t i = 0; i < ARRAY_LEN(documents); i++) {
        char path[512];
        place_file(p, path, "blobs/sha256/%s", digest_hex(documents[i]));
        assert_int_equal(chmod(path, 0600), 0);
        FILE *f = fopen(path, "r+");
        assert_non_null(f);
        assert_int_equal(fputc('!', f), '!');
        assert_int_equal(fclose(f), 0);
        fails_with(p, "in", plain, OCI_E_DIGEST, "damaged");
        loads_as(p, "in", plain, "example.org/a:1");
        is_whole(p, &x, "example.org/a:1");
    }
}

static void a_layout_tar_is_loaded(void **state)
{
    struct place *p = *state;
    static const int filter[] = {ARCHIVE_FILTER_NONE, ARCHIVE_FILTER_GZIP, ARCHIVE_FILTER_ZSTD};
    struct texts x = make_texts("example.org/a:1", "amd64");
    for (size_t i = 0; i < ARRAY_LEN(filter); i++) {
        struct tar t;
        place_new_lease(p);
        assert_int_equal(store_gc(p->store, &(struct gc_options){.all = true}, NULL, NULL), 0);
        tar_begin(&t, p, "in.tar", filter[i]);
        tar_layout(&t, &x);
        tar_end(&t);
        loads_as(p, "in.tar", plain, "example.org/a:1");
        is_whole(p, &x, "example.org/a:1");
        assert_int_equal(place_count(p, "blobs/sha256"), 4);
    }
}

static void a_docker_archive_is_loaded(void **state)
{
    struct place *p = *state;
    struct texts x = make_texts("", "amd64");
    struct tar t;
    char config[80];
    snprintf(config, sizeof(config), "%s.json", digest_hex(&x.config_digest));
    tar_begin(&t, p, "in.tar", ARCHIVE_FILTER_NONE);
    char id[80]; /* as Docker's first entry is: a folder called as a layer's id */
    snprintf(id, sizeof(id), "%s/", digest_hex(&x.a));
    tar_entry(&t, id, AE_IFDIR, NULL, NULL);
    tar_file(&t, "one/VERSION", "1.0");
    tar_file(&t, "one/json", "{}");
    tar_file(&t, "one/layer.tar", LAYER_A);
    tar_entry(&t, "two/layer.tar", AE_IFLNK, "../three/layer.tar", NULL);
    tar_entry(&t, "./three/layer.tar", AE_IFREG, "./four/layer.tar", NULL); /* a hard link */
    tar_file(&t, "four/layer.tar", LAYER_B);
    tar_file(&t, config, x.config);
    tar_file(&t, "repositories", "{}");
    tar_file(&t, "manifest.json", x.list);
    tar_end(&t);
    loads_as(p, "in.tar", plain, "docker.io/library/a:1 docker.io/b/c:2");
    is_whole(p, &x, "docker.io/library/a:1");
    is_whole(p, &x, "docker.io/b/c:2");
    loads_as(p, "in.tar", (struct source_options){.select = "b/c:2"}, "docker.io/b/c:2");
    loads_as(p, "in.tar", (struct source_options){.name = "mine"}, "docker.io/library/mine:latest");
    loads_as(p, "in.tar", (struct source_options){.kind = SOURCE_IMAGES, .select = "a:1", .name = "x/y:3"},
             "docker.io/x/y:3");
    loads_as(p, "in.tar", (struct source_options){.select = "docker.io/b/c:2"}, "docker.io/b/c:2");
    loads_as(p, "in.tar", (struct source_options){.select = "docker.io/library/a:1"},
             "docker.io/library/a:1");
    fails_with(p, "in.tar", (struct source_options){.select = "b/c:3"}, OCI_E_NOT_FOUND, "called 'b/c:3'");
}

static void names_are_made_where_there_are_none(void **state)
{
    struct place *p = *state;
    struct tar t;
    static const struct {
        const char *ref, *file, *name;
    } row[] = {
        {"", "My image_1.tar.gz", "localhost/my-image-1:latest"},
        {"v2", "in.tar", "localhost/in:v2"},
        {"", "--.oci", "localhost/image:latest"},
        {"a:v2", "in.tar", "docker.io/library/a:v2"},
        {"quay.io/a/b", "in.tar", "quay.io/a/b:latest"},
    };
    for (size_t i = 0; i < ARRAY_LEN(row); i++) {
        struct texts x = make_texts(row[i].ref, "amd64");
        tar_begin(&t, p, row[i].file, ARCHIVE_FILTER_NONE);
        tar_layout(&t, &x);
        tar_end(&t);
        loads_as(p, row[i].file, plain, row[i].name);
    }
    struct texts x = make_texts("a:!", "amd64");
    tar_begin(&t, p, "in.tar", ARCHIVE_FILTER_NONE);
    tar_layout(&t, &x);
    tar_end(&t);
    loads_as(p, "in.tar", (struct source_options){.name = "b"}, "docker.io/library/b:latest");
    fails_with(p, "in.tar", (struct source_options){.name = "B!"}, OCI_E_REFERENCE, "B!");
    tar_begin(&t, p, "in.tar", ARCHIVE_FILTER_NONE);
    tar_layout(&t, &x);
    tar_end(&t);
    fails_with(p, "in.tar", plain, OCI_E_REFERENCE, "a:!");
}

/* An index of several names and platforms, one of them behind another index. */
static void the_platform_is_chosen_for_each_name(void **state)
{
    struct place *p = *state;
    struct texts amd = make_texts("", "amd64"), arm = make_texts("", "arm64");
    struct platform arm64, s390x;
    char inner[1024], index[4096];
    platform_parse(&arm64, "arm64", NULL);
    platform_parse(&s390x, "s390x", NULL);
#define ENTRY   "{\"mediaType\":\"%s\",\"digest\":\"%s\",\"size\":%zu%s}"
#define P(arch) ",\"platform\":{\"os\":\"linux\",\"architecture\":\"" arch "\"}"
#define N(name) ",\"annotations\":{\"io.containerd.image.name\":\"" name "\"}"
    snprintf(inner, sizeof(inner), "{\"schemaVersion\":2,\"manifests\":[" ENTRY "," ENTRY "]}",
             MEDIA_OCI_MANIFEST, arm.manifest_digest.text, strlen(arm.manifest), P("arm64"),
             MEDIA_OCI_MANIFEST, amd.manifest_digest.text, strlen(amd.manifest), P("amd64"));
    struct digest inner_digest = digest_of_text(inner);
    snprintf(index, sizeof(index),
             "{\"schemaVersion\":2,\"manifests\":[" ENTRY "," ENTRY "," ENTRY
             ",{\"mediaType\":\"x/odd\",\"digest\":\"%s\",\"size\":1}]}",
             MEDIA_OCI_INDEX, inner_digest.text, strlen(inner), N("docker.io/library/multi:1"),
             MEDIA_OCI_MANIFEST, arm.manifest_digest.text, strlen(arm.manifest),
             P("arm64") N("docker.io/library/two:1"), MEDIA_OCI_MANIFEST, amd.manifest_digest.text,
             strlen(amd.manifest), P("amd64") N("docker.io/library/two:1"), amd.a.text);
    char name[80];
    blob_name(name, &inner_digest);
    folder_layout(p, "in", &amd);
    write_in(p, "in", arm.config_name, arm.config);
    write_in(p, "in", arm.manifest_name, arm.manifest);
    write_in(p, "in", name, inner);
    write_in(p, "in", "index.json", index);
    struct platform amd64;
    platform_parse(&amd64, "amd64", NULL);
    loads_as(p, "in", (struct source_options){.platform = &amd64},
             "docker.io/library/multi:1 docker.io/library/two:1");
    is_whole(p, &amd, "docker.io/library/multi:1");
    is_whole(p, &amd, "docker.io/library/two:1");
    loads_as(p, "in", (struct source_options){.platform = &arm64, .select = "two:1"},
             "docker.io/library/two:1");
    struct image_ref r;
    assert_int_equal(store_ref_get(p->store, "docker.io/library/two:1", &arm64, &r, NULL), 0);
    assert_true(digest_equal(&r.manifest.digest, &arm.manifest_digest));
    image_ref_fini(&r);
    assert_int_equal(store_ref_get(p->store, "docker.io/library/multi:1", &amd64, &r, NULL), 0);
    assert_true(digest_equal(&r.source, &inner_digest));
    image_ref_fini(&r);
    fails_with(p, "in", (struct source_options){.platform = &s390x}, OCI_E_PLATFORM,
               "only for: linux/arm64, linux/amd64");
    fails_with(p, "in", (struct source_options){.name = "one"}, OCI_E_AMBIGUOUS, "2 images");
    /* Indexes in indexes have an end. */
    struct oci_limits limits;
    oci_limits_init(&limits);
    limits.index_depth = 0;
    fails_with(p, "in", (struct source_options){.limits = &limits, .platform = &amd64}, OCI_E_LIMIT,
               "index_depth");
}

static void an_image_for_another_platform_is_taken_unless_one_is_asked_for(void **state)
{
    struct place *p = *state;
    struct texts x = make_texts("a:1", "s390x");
    struct platform amd64;
    struct tar t;
    platform_parse(&amd64, "amd64", NULL);
    tar_begin(&t, p, "in.tar", ARCHIVE_FILTER_NONE);
    tar_layout(&t, &x);
    tar_end(&t);
    loads_as(p, "in.tar", plain, "docker.io/library/a:1");
    fails_with(p, "in.tar", (struct source_options){.platform = &amd64}, OCI_E_PLATFORM,
               "for linux/s390x, not for linux/amd64");
}

/* --- Hostile archives: each is a layout or docker archive with one thing wrong --- */

static void hostile_layouts_are_refused(void **state)
{
    struct place *p = *state;
    struct texts x = make_texts("a:1", "amd64");
    char big[200];
    memset(big, 'x', sizeof(big) - 1);
    big[sizeof(big) - 1] = '\0';
    const struct {
        const char *name, *data; /* an entry in front of a good layout */
        int code;
        const char *why;
    } bad[] = {
        {"blobs/../../x", "x", OCI_E_FORMAT, "leads outside"},
        {"/blobs/x", "x", OCI_E_FORMAT, "absolute"},
        {"blobs/sha256/xyz", "x", OCI_E_FORMAT, "not named by a digest"},
        {"blobs/sha256/x/y", "x", OCI_E_FORMAT, "not named by a digest"},
        {x.layer_a, "the fir5t layer", OCI_E_DIGEST, "the bytes of blob"},
        {x.layer_a, LAYER_A, OCI_E_FORMAT, "is in it twice"},
        {"./index.json", x.index, OCI_E_FORMAT, "'index.json' is in it twice"},
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct tar t;
        tar_begin(&t, p, "in.tar", ARCHIVE_FILTER_NONE);
        tar_file(&t, bad[i].name, bad[i].data);
        tar_layout(&t, &x);
        tar_end(&t);
        place_new_lease(p);
        assert_int_equal(store_gc(p->store, &(struct gc_options){.all = true}, NULL, NULL), 0);
        fails_with(p, "in.tar", (struct source_options){.kind = SOURCE_IMAGES}, bad[i].code, bad[i].why);
        assert_int_equal(place_count(p, "partial"), 0);
        assert_int_equal(place_count(p, "refs"), 0);
    }
}

static void odd_entries_are_refused(void **state)
{
    struct place *p = *state;
    struct texts x = make_texts("a:1", "amd64");
    static const struct {
        unsigned type;
        const char *link, *why;
    } bad[] = {
        {AE_IFIFO, NULL, "neither file, folder nor link"},
        {AE_IFCHR, NULL, "neither file, folder nor link"},
        {AE_IFLNK, "/etc/passwd", "absolute"},
        {AE_IFLNK, "../../etc/passwd", "leads outside"},
        {AE_IFREG, "../x", "leads outside"},
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct tar t;
        tar_begin(&t, p, "in.tar", ARCHIVE_FILTER_NONE);
        tar_layout(&t, &x);
        tar_entry(&t, "odd/layer.tar", bad[i].type, bad[i].link, NULL);
        tar_end(&t);
        fails_with(p, "in.tar", plain, OCI_E_FORMAT, bad[i].why);
    }
}

static void what_is_missing_is_named(void **state)
{
    struct place *p = *state;
    struct texts x = make_texts("a:1", "amd64");
    const char *const name[] = {x.layer_a,       x.layer_b,    x.config_name,
                                x.manifest_name, "oci-layout", "index.json"};
    const char *const data[] = {LAYER_A, LAYER_B, x.config, x.manifest, LAYOUT, x.index};
    for (size_t leave = 0; leave < ARRAY_LEN(name); leave++) {
        struct tar t;
        tar_begin(&t, p, "in.tar", ARCHIVE_FILTER_NONE);
        tar_entry(&t, "blobs/", AE_IFDIR, NULL, NULL);
        for (size_t i = 0; i < ARRAY_LEN(name); i++) {
            if (i != leave)
                tar_file(&t, name[i], data[i]);
        }
        tar_end(&t);
        /* Also when the store has it from elsewhere: an archive stands for itself. */
        if (leave < 4)
            fails_with(p, "in.tar", plain, OCI_E_NOT_FOUND, name[leave]);
        else
            fails_with(p, "in.tar", plain, OCI_E_FORMAT, "neither an OCI image layout nor");
        char command[900];
        snprintf(command, sizeof(command), "rm -rf %s/in", p->dir);
        assert_int_equal(system(command), 0);
        folder_layout(p, "in", &x);
        snprintf(command, sizeof(command), "rm %s/in/%s", p->dir, name[leave]);
        assert_int_equal(system(command), 0);
        fails_with(p, "in", (struct source_options){.kind = SOURCE_IMAGES}, OCI_E_NOT_FOUND, name[leave]);
    }
}

static void sizes_must_be_those_promised(void **state)
{
    struct place *p = *state;
    struct texts x = make_texts("a:1", "amd64");
    /* The index says one byte more than the manifest has. */
    char *size = strstr(x.index, "\"size\":");
    char changed[2048];
    snprintf(changed, sizeof(changed), "%.*s\"size\":%zu}]}", (int)(size - x.index), x.index,
             strlen(x.manifest) + 1);
    strcpy(x.index, changed);
    struct tar t;
    tar_begin(&t, p, "in.tar", ARCHIVE_FILTER_NONE);
    tar_layout(&t, &x);
    tar_end(&t);
    fails_with(p, "in.tar", plain, OCI_E_DIGEST, "were promised");
    folder_layout(p, "in", &x);
    fails_with(p, "in", plain, OCI_E_DIGEST, "were promised");
}

static void documents_that_lie_are_refused(void **state)
{
    struct place *p = *state;
    struct texts x = make_texts("a:1", "amd64");
    static const struct {
        const char *layout, *index;
        int code;
        const char *why;
    } bad[] = {
        {"{\"imageLayoutVersion\":\"2.0.0\"}", NULL, OCI_E_UNSUPPORTED, "version '2.0.0'"},
        {"{}", NULL, OCI_E_FORMAT, "imageLayoutVersion is missing"},
        {"[", NULL, OCI_E_FORMAT, "not well-formed"},
        {NULL, "{\"schemaVersion\":2,\"manifests\":[]}", OCI_E_NOT_FOUND, "no image in it"},
        {NULL, "{\"schemaVersion\":2,\"manifests\":7}", OCI_E_FORMAT, "manifests is not a list"},
        {NULL, "not json", OCI_E_FORMAT, "not well-formed"},
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct tar t;
        tar_begin(&t, p, "in.tar", ARCHIVE_FILTER_NONE);
        tar_blobs(&t, &x);
        tar_file(&t, "oci-layout", bad[i].layout ? bad[i].layout : LAYOUT);
        tar_file(&t, "index.json", bad[i].index ? bad[i].index : x.index);
        tar_end(&t);
        fails_with(p, "in.tar", plain, bad[i].code, bad[i].why);
    }
}

static void hostile_docker_archives_are_refused(void **state)
{
    struct place *p = *state;
    struct texts x = make_texts("", "amd64");
    char config[80], list[8][1024];
    snprintf(config, sizeof(config), "%s.json", digest_hex(&x.config_digest));
    snprintf(list[0], 1024, "[{\"Config\":\"%s\",\"RepoTags\":[7],\"Layers\":[]}]", config);
    snprintf(list[1], 1024, "[{\"Config\":\"%s\",\"Layers\":[\"one/layer.tar\"]}]", config);
    snprintf(list[2], 1024, "[{\"Config\":\"%s\",\"Layers\":[\"two/layer.tar\",\"one/layer.tar\"]}]", config);
    snprintf(list[3], 1024, "[{\"Config\":\"%s\",\"Layers\":[\"one/layer.tar\",\"no/layer.tar\"]}]", config);
    snprintf(list[4], 1024, "[{\"Config\":\"%s\",\"Layers\":[\"one/layer.tar\",[]]}]", config);
    snprintf(list[5], 1024, "[{\"Config\":\"no.json\",\"Layers\":[]}]");
    snprintf(list[6], 1024, "[{\"Config\":\"%s.json\",\"Layers\":[]}]", digest_hex(&x.a));
    snprintf(list[7], 1024, "[{\"Config\":\"%s\",\"Layers\":[\"one/layer.tar\",\"loop/layer.tar\"]}]",
             config);
    const struct {
        const char *list;
        int code;
        const char *why;
    } bad[] = {
        {list[0], OCI_E_FORMAT, "manifest.json[0].RepoTags[0] is not a string"},
        {list[1], OCI_E_FORMAT, "has 1 layers, its configuration speaks of 2"},
        {list[2], OCI_E_DIGEST, "the bytes of layer 'two/layer.tar'"},
        {list[3], OCI_E_NOT_FOUND, "'no/layer.tar'"},
        {list[4], OCI_E_FORMAT, "Layers[1] is not a string"},
        {list[5], OCI_E_NOT_FOUND, "'no.json'"},
        {list[6], OCI_E_DIGEST, "the bytes of"},
        {list[7], OCI_E_NOT_FOUND, "'loop/layer.tar'"},
        {"[]", OCI_E_NOT_FOUND, "no image in it"},
        {"{}", OCI_E_FORMAT, "manifest.json is not a list"},
        {"[7]", OCI_E_FORMAT, "manifest.json[0] is not an object"},
        {"[{}]", OCI_E_FORMAT, "manifest.json[0].Config is missing"},
        {"[{\"Config\":\"one/layer.tar\"}]", OCI_E_FORMAT, "the image configuration is not well-formed"},
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct tar t;
        char lying[80];
        snprintf(lying, sizeof(lying), "%s.json", digest_hex(&x.a)); /* a name that is not its digest */
        tar_begin(&t, p, "in.tar", ARCHIVE_FILTER_NONE);
        tar_file(&t, config, x.config);
        tar_file(&t, lying, "{}");
        tar_file(&t, "one/layer.tar", LAYER_A);
        tar_file(&t, "two/layer.tar", LAYER_B);
        tar_entry(&t, "loop/layer.tar", AE_IFLNK, "../pool/layer.tar", NULL);
        tar_entry(&t, "pool/layer.tar", AE_IFLNK, "../loop/layer.tar", NULL);
        tar_file(&t, "manifest.json", bad[i].list);
        tar_end(&t);
        fails_with(p, "in.tar", plain, bad[i].code, bad[i].why);
    }
}

static void limits_hold(void **state)
{
    struct place *p = *state;
    struct texts x = make_texts("a:1", "amd64");
    struct oci_limits l;
    const struct {
        uint64_t *limit, value;
        const char *name;
    } row[] = {
        {&l.manifest_bytes, 50, "manifest_bytes"},
        {&l.blob_bytes, 14, "blob_bytes"},
        {&l.image_bytes, 30, "image_bytes"},
        {&l.config_bytes, 50, "config_bytes"},
        {&l.layers, 1, "limit layers"},
        {&l.index_entries, 0, "index_entries"},
    };
    for (size_t i = 0; i < ARRAY_LEN(row); i++) {
        struct tar t;
        oci_limits_init(&l);
        *row[i].limit = row[i].value;
        tar_begin(&t, p, "in.tar", ARCHIVE_FILTER_GZIP);
        tar_layout(&t, &x);
        tar_end(&t);
        fails_with(p, "in.tar", (struct source_options){.limits = &l}, OCI_E_LIMIT, row[i].name);
    }
    struct tar t;
    oci_limits_init(&l);
    l.layer_bytes = 5;
    tar_begin(&t, p, "in.tar", ARCHIVE_FILTER_GZIP);
    tar_file(&t, "manifest.json", "[]");
    tar_file(&t, "one/layer.tar", LAYER_A);
    tar_end(&t);
    fails_with(p, "in.tar", (struct source_options){.limits = &l}, OCI_E_LIMIT, "layer_bytes");
}

/* A compressed megabyte of nothing that would be gigabytes: the limit on blobs ends it. */
static void a_bomb_is_held(void **state)
{
    struct place *p = *state;
    struct oci_limits l;
    char path[512], command[1200];
    snprintf(path, sizeof(path), "%s/in.tar", p->dir);
    snprintf(command, sizeof(command),
             "cd %s && mkdir -p b/one && truncate -s 300M b/one/layer.tar && echo '[]' >b/manifest.json && "
             "tar -C b -cf - manifest.json one/layer.tar | gzip -1 >in.tar",
             p->dir);
    oci_limits_init(&l);
    l.layer_bytes = 1 << 20;
    assert_int_equal(system(command), 0);
    fails_with(p, "in.tar", (struct source_options){.limits = &l}, OCI_E_LIMIT, "layer_bytes");
    assert_int_equal(place_count(p, "partial"), 0);
}

static void what_is_cut_or_no_tar_is_refused(void **state)
{
    struct place *p = *state;
    struct texts x = make_texts("a:1", "amd64");
    struct tar t;
    char path[512];
    snprintf(path, sizeof(path), "%s/in.tar", p->dir);
    static const off_t length[] = {600, 1024 + 5, 3000};
    for (size_t i = 0; i < ARRAY_LEN(length); i++) {
        tar_begin(&t, p, "in.tar", ARCHIVE_FILTER_NONE);
        tar_layout(&t, &x);
        tar_end(&t);
        assert_int_equal(truncate(path, length[i]), 0);
        fails_with(p, "in.tar", (struct source_options){.kind = SOURCE_IMAGES}, OCI_E_FORMAT, "");
    }
    tar_begin(&t, p, "in.tar", ARCHIVE_FILTER_GZIP);
    tar_layout(&t, &x);
    tar_end(&t);
    assert_int_equal(truncate(path, 300), 0);
    fails_with(p, "in.tar", (struct source_options){.kind = SOURCE_IMAGES}, OCI_E_FORMAT, "");
    place_write(path, "this is no archive at all, but long enough to be looked at\n");
    fails_with(p, "in.tar", plain, OCI_E_FORMAT, "cannot be read as a tar");
    place_write(path, "");
    fails_with(p, "in.tar", plain, OCI_E_FORMAT, "");
    fails_with(p, "nothing-here", plain, -ENOENT, "cannot open it");
}

static void links_in_a_layout_folder_are_not_followed(void **state)
{
    struct place *p = *state;
    struct texts x = make_texts("a:1", "amd64");
    char command[900];
    folder_layout(p, "in", &x);
    snprintf(command, sizeof(command), "cd %s/in && mv %s secret && ln -s ../../secret %s", p->dir, x.layer_a,
             x.layer_a);
    assert_int_equal(system(command), 0);
    fails_with(p, "in", plain, -ELOOP, x.layer_a);
    snprintf(command, sizeof(command), "cd %s/in && rm %s && mkfifo %s", p->dir, x.layer_a, x.layer_a);
    assert_int_equal(system(command), 0);
    fails_with(p, "in", plain, OCI_E_FORMAT, "no regular file");
}

static void a_cancelled_load_ends(void **state)
{
    struct place *p = *state;
    struct texts x = make_texts("a:1", "amd64");
    struct tar t;
    int cancel[2];
    assert_int_equal(pipe(cancel), 0);
    assert_int_equal(write(cancel[1], "x", 1), 1);
    struct source_options o = {.cancel_fd = cancel[0]};
    tar_begin(&t, p, "in.tar", ARCHIVE_FILTER_NONE);
    tar_layout(&t, &x);
    tar_end(&t);
    fails_with(p, "in.tar", o, -ECANCELED, "interrupted");
    folder_layout(p, "in", &x);
    fails_with(p, "in", o, -ECANCELED, "interrupted");
    o.kind = SOURCE_ROOTFS;
    fails_with(p, "in", o, -ECANCELED, "interrupted");
    assert_int_equal(place_count(p, "partial"), 0);
    close(cancel[0]);
    close(cancel[1]);
}

/* Cancels once the others wait in their pipe. */
static void cancel_later(int fd)
{
    if (fork() == 0) {
        usleep(200000);
        _exit(write(fd, "x", 1) == 1 ? 0 : 1);
    }
}

static void a_load_from_a_silent_pipe_can_be_cancelled(void **state)
{
    struct place *p = *state;
    struct loaded l;
    struct err e = {0};
    int in[2], cancel[2], saved = dup(STDIN_FILENO);
    assert_int_equal(pipe(in), 0);
    assert_int_equal(pipe(cancel), 0);
    struct source_options o = {.cancel_fd = cancel[0]};
    dup2(in[0], STDIN_FILENO);
    cancel_later(cancel[1]);
    alarm(20);
    int ret = load_with(p, "-", o, &l, &e);
    alarm(0);
    dup2(saved, STDIN_FILENO);
    wait(NULL);
    assert_int_equal(ret, -ECANCELED);
    assert_non_null(strstr(e.text, "interrupted"));
    const int fds[] = {saved, in[0], in[1], cancel[0], cancel[1]};
    for (size_t i = 0; i < ARRAY_LEN(fds); i++)
        close(fds[i]);
}

static void a_load_from_a_fifo_without_a_writer_can_be_cancelled(void **state)
{
    struct place *p = *state;
    struct loaded l;
    struct err e = {0};
    int cancel[2];
    char path[512];
    snprintf(path, sizeof(path), "%s/fifo", p->dir);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(pipe(cancel), 0);
    for (enum source_kind kind = SOURCE_AUTO; kind <= SOURCE_ROOTFS; kind++) {
        char byte;
        cancel_later(cancel[1]);
        alarm(20);
        int ret = load_with(p, path, (struct source_options){.kind = kind, .cancel_fd = cancel[0]}, &l, &e);
        alarm(0);
        wait(NULL);
        assert_int_equal(ret, -ECANCELED);
        assert_non_null(strstr(e.text, "interrupted"));
        assert_int_equal(read(cancel[0], &byte, 1), 1);
    }
    close(cancel[0]);
    close(cancel[1]);
}

/* Whose writer comes late, and writes in two parts. */
static void an_archive_comes_through_a_fifo(void **state)
{
    struct place *p = *state;
    struct texts x = make_texts("a:1", "amd64");
    struct tar t;
    char command[600];
    tar_begin(&t, p, "in.tar", ARCHIVE_FILTER_NONE);
    tar_layout(&t, &x);
    tar_end(&t);
    snprintf(command, sizeof(command),
             "cd %s && rm -f fifo && mkfifo fifo && { { sleep 0.2; head -c 3000 in.tar; sleep 0.2; "
             "tail -c +3001 in.tar; } >fifo & }",
             p->dir);
    assert_int_equal(system(command), 0);
    alarm(20);
    loads_as(p, "fifo", plain, "docker.io/library/a:1");
    is_whole(p, &x, "docker.io/library/a:1");
    assert_int_equal(system(command), 0); /* the same, as it would be a root file system's */
    loads_as(p, "fifo", (struct source_options){.kind = SOURCE_ROOTFS}, "localhost/fifo:latest");
    alarm(0);
}

/* From standard input, which here is a pipe. */
static void an_archive_comes_through_a_pipe(void **state)
{
    struct place *p = *state;
    struct texts x = make_texts("a:1", "amd64");
    struct tar t;
    struct loaded l;
    struct err e = {0};
    int in[2], saved = dup(STDIN_FILENO);
    tar_begin(&t, p, "in.tar", ARCHIVE_FILTER_GZIP);
    tar_layout(&t, &x);
    tar_end(&t);
    char bytes[8192];
    int fd = open(t.path, O_RDONLY);
    ssize_t n = read(fd, bytes, sizeof(bytes));
    close(fd);
    assert_true(n > 0 && n < (ssize_t)sizeof(bytes));
    assert_int_equal(pipe(in), 0);
    assert_int_equal(write(in[1], bytes, (size_t)n), n);
    close(in[1]);
    dup2(in[0], STDIN_FILENO);
    int ret = load_with(p, "-", plain, &l, &e);
    dup2(saved, STDIN_FILENO);
    close(saved);
    close(in[0]);
    if (ret != 0)
        fail_msg("%s", e.text);
    assert_string_equal(l.names, "docker.io/library/a:1");
    image_ref_fini(&l.last);
    is_whole(p, &x, "docker.io/library/a:1");
}

/* --- Root file systems --- */

/* The one layer of the image `name`, as a file's path. */
static void layer_of(struct place *p, const char *name, char out[512], struct digest *manifest)
{
    struct image_list list;
    struct manifest m;
    struct image_config c;
    assert_int_equal(store_list(p->store, &list, NULL), 0);
    size_t i = 0;
    while (i < list.count && strcmp(list.item[i].ref.name, name) != 0)
        i++;
    assert_true(i < list.count);
    *manifest = list.item[i].ref.manifest.digest;
    image_list_fini(&list);
    assert_int_equal(store_manifest_load(p->store, manifest, NULL, &m, NULL), 0);
    assert_int_equal(store_config_load(p->store, &m, NULL, &c, NULL), 0);
    assert_int_equal(m.nlayers, 1);
    assert_string_equal(m.layer[0].media_type, MEDIA_OCI_LAYER);
    assert_true(digest_equal(&m.layer[0].digest, &c.diff_id[0]));
    struct platform host;
    platform_host(&host);
    assert_true(platform_equal(&host, &c.platform));
    place_file(p, out, "blobs/sha256/%s", digest_hex(&m.layer[0].digest));
    image_config_fini(&c);
    manifest_fini(&m);
}

static void a_root_file_systems_tar_becomes_an_image(void **state)
{
    struct place *p = *state;
    static const int filter[] = {ARCHIVE_FILTER_NONE, ARCHIVE_FILTER_GZIP, ARCHIVE_FILTER_ZSTD};
    struct digest first = {0}, manifest;
    for (size_t i = 0; i < ARRAY_LEN(filter); i++) {
        struct tar t;
        char layer[512], command[1200];
        tar_begin(&t, p, "root.tar", filter[i]);
        tar_entry(&t, "./", AE_IFDIR, NULL, NULL);
        tar_entry(&t, "./bin/", AE_IFDIR, NULL, NULL);
        tar_file(&t, "./bin/sh", "a shell");
        tar_end(&t);
        loads_as(p, "root.tar", plain, "localhost/root:latest");
        layer_of(p, "localhost/root:latest", layer, &manifest);
        snprintf(command, sizeof(command), "tar -tf %s | grep -qx ./bin/sh", layer);
        assert_int_equal(system(command), 0);
        if (i == 0)
            first = manifest;
        assert_true(digest_equal(&first, &manifest)); /* however it is compressed */
    }
    loads_as(p, "root.tar", (struct source_options){.kind = SOURCE_ROOTFS, .name = "x:1"},
             "docker.io/library/x:1");
    struct oci_limits l;
    oci_limits_init(&l);
    l.layer_bytes = 100;
    fails_with(p, "root.tar", (struct source_options){.limits = &l}, OCI_E_LIMIT, "layer_bytes");
}

static void run(const struct place *p, const char *script)
{
    char command[4000];
    snprintf(command, sizeof(command), "set -e; cd %s; export LC_ALL=C; %s", p->dir, script);
    int ret = system(command);
    if (ret != 0)
        fail_msg("'%s' ended with 0x%x", script, (unsigned)ret);
}

static void a_folder_becomes_an_image(void **state)
{
    struct place *p = *state;
    char layer[512], again[512], script[3000];
    struct digest manifest, same;
    run(p, "mkdir -p tree/a/b tree/lost+found tree/empty; echo hello >tree/a/file; ln tree/a/file "
           "tree/a/b/second;"
           "ln -s ../file tree/a/b/short; mkfifo tree/pipe; chmod 4755 tree/a/file; chmod 1777 tree/empty;"
           "touch -d '2001-02-03 04:05:06.123456789 UTC' tree/a/file; : >\"tree/$(printf "
           "'odd\\001\\377\\nname')\";"
           "head -c 300000 /dev/urandom >tree/a/random; truncate -s 40M tree/sparse; echo end >>tree/sparse;"
           "truncate -s 3M tree/hole; mkdir -p tree/$(printf 'long%.0s' $(seq 40))/$(printf 'name%.0s' $(seq "
           "40));"
           "touch -d 2020-01-01 tree");
    if (geteuid() == 0)
        run(p, "mknod tree/null c 1 3; chown 70000:4000000000 tree/a/random; touch -d 2020-01-01 tree");
    loads_as(p, "tree", plain, "localhost/tree:latest");
    layer_of(p, "localhost/tree:latest", layer, &manifest);
    /* GNU tar gives back what went in. */
    snprintf(script, sizeof(script),
             "mkdir out; tar -C out --xattrs -xpf %s; rm -r tree/lost+found; touch -d 2020-01-01 tree;"
             "for d in tree out; do (cd $d; find . -printf '%%p|%%y|%%m|%%U:%%G|%%s|%%T@|%%l|%%n\\n' | sed "
             "'s/^\\(.*|d|[^|]*|[^|]*|\\)[0-9]*|\\(.*|\\)[0-9]*$/\\1\\2/' | sort; "
             "find . -type f -exec sha256sum -- {} + | sort) >$d.txt; done; diff tree.txt out.txt; test -s "
             "out.txt;"
             "test $(du -k out/sparse | cut -f1) -lt 1000",
             layer);
    run(p, script);
    struct stat st;
    assert_int_equal(stat(layer, &st), 0);
    assert_true(st.st_size < 2 << 20); /* holes are not stored */
    /* The same tree, copied, gives the same image. */
    run(p, "cp -a tree copy");
    loads_as(p, "copy", plain, "localhost/copy:latest");
    layer_of(p, "localhost/copy:latest", again, &same);
    assert_string_equal(again, layer);
    assert_true(digest_equal(&manifest, &same));
}

static void attributes_are_kept(void **state)
{
    struct place *p = *state;
    char path[512], layer[512], script[1500], value[32];
    struct digest manifest;
    run(p, "mkdir -p tree out; echo x >tree/file");
    snprintf(path, sizeof(path), "%s/tree/file", p->dir);
    /* tmpfs has no user attributes before Linux 6.6; root's trusted ones are everywhere. */
    if (setxattr(path, "trusted.note", "kept\0as is", 10, 0) < 0) {
        print_message("# skipped: no attribute can be set here: %s\n", strerror(errno));
        skip();
    }
    loads_as(p, "tree", plain, "localhost/tree:latest");
    layer_of(p, "localhost/tree:latest", layer, &manifest);
    snprintf(script, sizeof(script), "tar -C out --xattrs --xattrs-include='*' -xpf %s", layer);
    run(p, script);
    snprintf(path, sizeof(path), "%s/out/file", p->dir);
    assert_int_equal(getxattr(path, "trusted.note", value, sizeof(value)), 10);
    assert_memory_equal(value, "kept\0as is", 10);
}

static void a_folder_too_deep_is_refused(void **state)
{
    struct place *p = *state;
    run(p, "mkdir deep; (cd deep; for i in $(seq 300); do mkdir d; cd d; done)");
    fails_with(p, "deep", plain, -ELOOP, "nested more than 256");
    assert_int_equal(place_count(p, "partial"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, place_set_up, place_tear_down)
        T(a_layout_folder_is_loaded),
        T(damaged_documents_come_with_the_next_load),
        T(a_layout_tar_is_loaded),
        T(a_docker_archive_is_loaded),
        T(names_are_made_where_there_are_none),
        T(the_platform_is_chosen_for_each_name),
        T(an_image_for_another_platform_is_taken_unless_one_is_asked_for),
        T(hostile_layouts_are_refused),
        T(odd_entries_are_refused),
        T(what_is_missing_is_named),
        T(sizes_must_be_those_promised),
        T(documents_that_lie_are_refused),
        T(hostile_docker_archives_are_refused),
        T(limits_hold),
        T(a_bomb_is_held),
        T(what_is_cut_or_no_tar_is_refused),
        T(links_in_a_layout_folder_are_not_followed),
        T(a_cancelled_load_ends),
        T(a_load_from_a_silent_pipe_can_be_cancelled),
        T(a_load_from_a_fifo_without_a_writer_can_be_cancelled),
        T(an_archive_comes_through_a_fifo),
        T(an_archive_comes_through_a_pipe),
        T(a_root_file_systems_tar_becomes_an_image),
        T(a_folder_becomes_an_image),
        T(attributes_are_kept),
        T(a_folder_too_deep_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
