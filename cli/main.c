/* SPDX-License-Identifier: Apache-2.0 */
/* cubby: runs commands in throw-away virtual machines. cubby(1). */
#include "cli/cli.h"

#include <fcntl.h>
#include <unistd.h>

/* A program that is started without stdin, stdout or stderr would get one of these numbers for a socket of
 * its own. */
static void open_standard_files(void)
{
    int fd;
    do {
        fd = open("/dev/null", O_RDWR);
    } while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd > STDERR_FILENO)
        close(fd);
}

int main(int argc, char **argv)
{
    (void)argc;
    open_standard_files();
    return cli_main(argv);
}
