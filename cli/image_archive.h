/* SPDX-License-Identifier: Apache-2.0 */
/* cubby image load and cubby image save. */
#ifndef CUBBY_CLI_IMAGE_ARCHIVE_H
#define CUBBY_CLI_IMAGE_ARCHIVE_H

#include "cli/options.h"

extern const struct verb verb_load, verb_save;

/* At least one image in `words`, and nothing behind "--": 0, or the exit code with the mistake told. */
int need_images(const char *verb, char **words, char **command);

#endif
