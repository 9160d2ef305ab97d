/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: eight one-byte registers (PC16550D datasheet, table II). The line status always says
 * that the transmitter is empty: a guest that reads zeros there waits for ever before its first byte. Bytes
 * are gathered into lines, so that a chatty kernel costs one write(2) a line beside its exit a byte.
 */
#include "vmm/serial.h"
#include "base/io.h"

#include <linux/serial_reg.h>
#include <string.h>

#define LSR_IDLE (UART_LSR_TEMT | UART_LSR_THRE)

_Static_assert(LSR_IDLE == 0x60, "transmitter and its shift register are empty");

void serial_init(struct serial *s, int out_fd)
{
    *s = (struct serial){.out_fd = out_fd, .divisor = 1};
    pthread_mutex_init(&s->lock, NULL);
}

/* A sink that fails loses the line: there is nobody to tell. */
static void flush(struct serial *s)
{
    if (s->len > 0)
        write_full(s->out_fd, s->line, s->len);
    s->len = 0;
}

void serial_fini(struct serial *s)
{
    flush(s);
    pthread_mutex_destroy(&s->lock);
}

static void put(struct serial *s, uint8_t byte)
{
    s->line[s->len++] = (char)byte;
    if (byte == '\n' || s->len == SERIAL_LINE)
        flush(s);
}

static uint8_t get_register(const struct serial *s, uint64_t reg)
{
    bool divisor_latch = s->lcr & UART_LCR_DLAB;
    switch (reg) {
    case UART_RX:
        return divisor_latch ? (uint8_t)s->divisor : 0;
    case UART_IER:
        return divisor_latch ? (uint8_t)(s->divisor >> 8) : s->ier;
    case UART_IIR:
        return UART_IIR_NO_INT;
    case UART_LCR:
        return s->lcr;
    case UART_MCR:
        return s->mcr;
    case UART_LSR:
        return LSR_IDLE;
    case UART_MSR:
        return UART_MSR_DCD | UART_MSR_DSR | UART_MSR_CTS;
    default:
        return s->scratch;
    }
}

static void set_register(struct serial *s, uint64_t reg, uint8_t value)
{
    bool divisor_latch = s->lcr & UART_LCR_DLAB;
    switch (reg) {
    case UART_TX:
        if (divisor_latch)
            s->divisor = (uint16_t)((s->divisor & 0xff00) | value);
        else if (!(s->mcr & UART_MCR_LOOP))
            put(s, value);
        break;
    case UART_IER:
        if (divisor_latch)
            s->divisor = (uint16_t)((s->divisor & 0x00ff) | value << 8);
        else
            s->ier = value & 0x0f;
        break;
    case UART_LCR:
        s->lcr = value;
        break;
    case UART_MCR:
        s->mcr = value & 0x1f;
        break;
    case UART_SCR:
        s->scratch = value;
        break;
    default: /* FIFO control; the status registers are read-only */
        break;
    }
}

static void on_read(void *owner, uint64_t offset, void *data, uint32_t len)
{
    struct serial *s = owner;
    memset(data, 0xff, len);
    if (len != 1)
        return;
    pthread_mutex_lock(&s->lock);
    *(uint8_t *)data = get_register(s, offset);
    pthread_mutex_unlock(&s->lock);
}

static void on_write(void *owner, uint64_t offset, const void *data, uint32_t len)
{
    struct serial *s = owner;
    if (len != 1)
        return;
    pthread_mutex_lock(&s->lock);
    set_register(s, offset, *(const uint8_t *)data);
    pthread_mutex_unlock(&s->lock);
}

const struct bus_ops serial_ops = {.read = on_read, .write = on_write};
