/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation: a pull gives up when the descriptor of our signals becomes readable, so that Ctrl-C
 * ends it at a point where everything is in order. */
#include "cli/images_open.h"

#include "cli/cli.h"

#include <pthread.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

struct cubby_images *images_open(const struct word_list *insecure)
{
    struct cubby_images *images;
    struct cubby_error e;
    struct cubby_images_options o = {
        .size = sizeof(o), .insecure_registries = insecure ? (const char *const *)insecure->words : NULL};
    if (cubby_images_open(&images, &o, &e) == 0)
        return images;
    complain(EXIT_CUBBY, "%s", e.message);
    return NULL;
}

int images_told(const struct cubby_error *e, int signo)
{
    return signo ? EXIT_SIGNAL + signo : complain(EXIT_CUBBY, "%s", e->message);
}

int interrupts_open(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGQUIT);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

int interrupts_take(int fd)
{
    struct signalfd_siginfo info;
    return fd >= 0 && read(fd, &info, sizeof(info)) == (ssize_t)sizeof(info) ? (int)info.ssi_signo : 0;
}
