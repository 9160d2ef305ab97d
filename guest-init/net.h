/* SPDX-License-Identifier: Apache-2.0 */
/* The names and addresses that a box has without a network. docs/init-contract.md section 4. */
#ifndef CUBBY_GUEST_INIT_NET_H
#define CUBBY_GUEST_INIT_NET_H

#include "base/err.h"

/* Host name, and the loopback interface up (127.0.0.1 and ::1). 0 or a negative errno. */
int net_up(const char *hostname, struct err *e);

/* Writes <etc>/hosts, <etc>/resolv.conf and <etc>/hostname where the image has none, or an empty one. Never
 * follows a symbolic link. What cannot be written is logged; the box works without. */
void net_write_files(const char *etc, const char *hostname);

#endif
