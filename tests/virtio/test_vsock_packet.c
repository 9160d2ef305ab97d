/* SPDX-License-Identifier: Apache-2.0 */
/* The header codec against Linux' own description of the header. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "virtio/vsock_packet.h"

#include <endian.h>
#include <string.h>

static const struct vsock_header sample = {
    .src_cid = 0x0102030405060708,
    .dst_cid = 0x1112131415161718,
    .src_port = 0x21222324,
    .dst_port = 0x31323334,
    .len = 0x41424344,
    .type = 0x5152,
    .op = 0x6162,
    .flags = 0x71727374,
    .buf_alloc = 0x81828384,
    .fwd_cnt = 0x91929394,
};

static void the_bytes_are_those_of_linux(void **state)
{
    (void)state;
    struct virtio_vsock_hdr theirs = {
        .src_cid = htole64(sample.src_cid),
        .dst_cid = htole64(sample.dst_cid),
        .src_port = htole32(sample.src_port),
        .dst_port = htole32(sample.dst_port),
        .len = htole32(sample.len),
        .type = htole16(sample.type),
        .op = htole16(sample.op),
        .flags = htole32(sample.flags),
        .buf_alloc = htole32(sample.buf_alloc),
        .fwd_cnt = htole32(sample.fwd_cnt),
    };
    uint8_t ours[VSOCK_HEADER_SIZE];
    vsock_header_encode(&sample, ours);
    assert_memory_equal(ours, &theirs, sizeof(ours));
}

static void encoding_fills_all_bytes(void **state)
{
    (void)state;
    struct vsock_header ones;
    memset(&ones, 0xff, sizeof(ones));
    uint8_t raw[VSOCK_HEADER_SIZE] = {0}, full[VSOCK_HEADER_SIZE];
    memset(full, 0xff, sizeof(full));
    vsock_header_encode(&ones, raw);
    assert_memory_equal(raw, full, sizeof(raw));
}

static void decoding_gives_back_what_was_encoded(void **state)
{
    (void)state;
    uint8_t raw[VSOCK_HEADER_SIZE];
    struct vsock_header h = {0};
    vsock_header_encode(&sample, raw);
    vsock_header_decode(&h, raw);
    assert_true(h.src_cid == sample.src_cid && h.dst_cid == sample.dst_cid);
    assert_int_equal(h.src_port, sample.src_port);
    assert_int_equal(h.dst_port, sample.dst_port);
    assert_int_equal(h.len, sample.len);
    assert_int_equal(h.type, sample.type);
    assert_int_equal(h.op, sample.op);
    assert_int_equal(h.flags, sample.flags);
    assert_int_equal(h.buf_alloc, sample.buf_alloc);
    assert_int_equal(h.fwd_cnt, sample.fwd_cnt);
}

static void each_operation_has_its_name(void **state)
{
    (void)state;
    assert_string_equal(vsock_op_name(VIRTIO_VSOCK_OP_INVALID), "INVALID");
    assert_string_equal(vsock_op_name(VIRTIO_VSOCK_OP_REQUEST), "REQUEST");
    assert_string_equal(vsock_op_name(VIRTIO_VSOCK_OP_RST), "RST");
    assert_string_equal(vsock_op_name(VIRTIO_VSOCK_OP_CREDIT_REQUEST), "CREDIT_REQUEST");
    assert_string_equal(vsock_op_name(VIRTIO_VSOCK_OP_CREDIT_REQUEST + 1), "?");
    assert_string_equal(vsock_op_name(UINT16_MAX), "?");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_bytes_are_those_of_linux),
        cmocka_unit_test(encoding_fills_all_bytes),
        cmocka_unit_test(decoding_gives_back_what_was_encoded),
        cmocka_unit_test(each_operation_has_its_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
