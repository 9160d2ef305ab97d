/* SPDX-License-Identifier: Apache-2.0 */
/* An image from a registry, with progress, and what it is made to run: pull REFERENCE. */
#include <cubby.h>

#include <stdio.h>

/* Called in the thread of the pull, often: here only what has come to an end is told. */
static void progress(void *context, const struct cubby_pull_event *event)
{
    int *layers = context;
    if (event->phase == CUBBY_PULL_RESOLVED)
        printf("%d layers\n", event->layers);
    if (event->layer >= 0 && (event->phase == CUBBY_PULL_DOWNLOADED || event->phase == CUBBY_PULL_EXISTS))
        printf("%d of %d is here\n", ++*layers, event->layers);
}

int main(int argc, char **argv)
{
    int layers = 0;
    struct cubby_pull_options pull = {.size = sizeof(pull), .progress = progress, .context = &layers};
    struct cubby_box_options of_image = {.size = sizeof(of_image), .image = argv[1]};
    struct cubby_exec_options its_command = {.size = sizeof(its_command), .flags = CUBBY_EXEC_IMAGE};
    struct cubby_output output = {.size = sizeof(output)};
    struct cubby_images *images = NULL;
    struct cubby_image *image = NULL;
    struct cubby_box *box = NULL;
    struct cubby_error error;
    if (argc != 2)
        return fprintf(stderr, "usage: pull REFERENCE\n"), 2;
    int failed = cubby_images_open(&images, NULL, &error) < 0 ||
                 cubby_images_pull(images, argv[1], &pull, &image, NULL, &error) < 0;
    if (!failed) {
        printf("%s for %s\n", image->reference, image->platform);
        of_image.images = images;
        failed = cubby_box_create(&box, &of_image, &error) < 0 || cubby_box_start(box, &error) < 0 ||
                 cubby_run(box, &its_command, &output, &error) < 0;
    }
    if (failed)
        fprintf(stderr, "%s: %s\n", cubby_code_name(error.code), error.message);
    else
        printf("%s", output.out);
    cubby_output_free(&output);
    cubby_box_destroy(box);
    cubby_image_free(image);
    cubby_images_close(images);
    return failed;
}
