/* SPDX-License-Identifier: Apache-2.0 */
/*
 * VM configurations as JSON. Firecracker's schema where it means the same here, so that its files can be
 * used:
 *
 *   "boot-source":    {"kernel_image_path", "initrd_path", "boot_args"}
 *   "machine-config": {"vcpu_count", "mem_size_mib"}
 *   "drives":         [{"drive_id", "path_on_host", "is_root_device", "is_read_only"}]
 *   "vsock":          {"guest_cid", "uds_path"}
 *
 * and our own: "boot-source": {"protocol"}, "drives": [{"serial"}], "console": {"path", "ports"}, "serial":
 * bool, "timeline": path. A key that is not known is an error that names it, unless its value says "nothing"
 * (null, false,
 * "", [], {}): a file that asks for something else must not seem to work.
 */
#ifndef CUBBY_VMM_CONFIG_JSON_H
#define CUBBY_VMM_CONFIG_JSON_H

#include "vmm/config.h"

#include <stddef.h>

#define CONFIG_JSON_MAX (1024 * 1024) /* bytes of a file */

/* Adds what the text says to *c, which was initialised. 0, or -EINVAL with line or key in the text, or
 * -ENOMEM. */
int config_parse_json(struct vm_config *c, const char *text, size_t len, struct err *e);

/* The same for a file, whose name goes in front of the error. */
int config_load_json(struct vm_config *c, const char *path, struct err *e);

#endif
