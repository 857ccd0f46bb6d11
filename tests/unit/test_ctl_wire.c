// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Framing of the control socket: messages told apart however the bytes arrive,
 * garbage skipped to the next line, bounds kept.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "../../host/ctl/wire.h"

static struct wire_in in;

static int set_up(void **state)
{
	(void)state;
	return wire_in_init(&in);
}

static int take_down(void **state)
{
	(void)state;
	wire_in_done(&in);
	return 0;
}

static void feed(const char *data, size_t len)
{
	size_t space;
	char *at = wire_in_space(&in, &space);

	assert_true(space >= len);
	memcpy(at, data, len);
	wire_in_filled(&in, len);
}

static void expect_message(const char *text)
{
	const char *message, *why;
	size_t len;

	assert_int_equal(wire_in_next(&in, &message, &len, &why), 1);
	assert_int_equal(len, strlen(text));
	assert_memory_equal(message, text, len);
}

static void expect_error(const char *words)
{
	const char *message, *why;
	size_t len;

	assert_int_equal(wire_in_next(&in, &message, &len, &why), -EBADMSG);
	assert_non_null(strstr(why, words));
}

static void expect_nothing(void)
{
	const char *message, *why;
	size_t len;

	assert_int_equal(wire_in_next(&in, &message, &len, &why), 0);
}

#define FEED(text) feed(text, sizeof(text) - 1)

static void test_ends_of_message(void **state)
{
	(void)state;
	FEED("{\"a\": 1}\n{\"b\": 2}\r\n{\"c\": [{}]}  {\"d\":\n3}{}");
	expect_message("{\"a\": 1}");
	expect_message("{\"b\": 2}");
	expect_message("{\"c\": [{}]}");
	expect_message("{\"d\":\n3}");
	expect_message("{}");
	expect_nothing();
}

static void test_byte_by_byte(void **state)
{
	static const char text[] = "{\"a\\\"}\": \"}{\\\\\"}\n";
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(text) - 3; i++) {
		feed(text + i, 1);
		expect_nothing();
	}
	feed(text + i, 1);
	expect_message("{\"a\\\"}\": \"}{\\\\\"}");
	expect_nothing();
}

static void test_garbage(void **state)
{
	(void)state;
	FEED("hello {\"not\": \"seen\"}\n{\"a\": 1}\n[1, 2]\n7\n\"x\"\n{\"b\": 2}");
	expect_error("not an object");
	expect_message("{\"a\": 1}");
	expect_error("not an object");
	expect_error("not an object");
	expect_error("not an object");
	expect_message("{\"b\": 2}");
	feed("\0\0\n{}", 5);
	expect_error("not an object");
	expect_message("{}");
}

static void test_control_characters(void **state)
{
	(void)state;
	/* An open string ends with its line, so that one bad message does not swallow the next. */
	FEED("{\"a\n{\"b\": 2}\n");
	expect_error("control character");
	expect_message("{\"b\": 2}");
	expect_nothing();
}

static void test_depth(void **state)
{
	static char deep[WIRE_MESSAGE_MAX_BYTES / 2];
	int i;

	(void)state;
	FEED("{\"a\": ");
	for (i = 0; i < WIRE_DEPTH_MAX - 1; i++)
		FEED("[");
	expect_nothing();
	for (i = 0; i < WIRE_DEPTH_MAX - 1; i++)
		FEED("]");
	FEED("}");
	assert_int_equal(wire_in_next(&in, (const char *[]){ NULL }, &(size_t){ 0 },
				      (const char *[]){ NULL }), 1);
	memset(deep, '{', sizeof(deep));
	feed(deep, sizeof(deep));
	expect_error("too deeply");
	expect_nothing();
	FEED("]}\n{}");
	expect_message("{}");
}

static void test_too_long(void **state)
{
	const char *message, *why;
	size_t space, len;
	char *at;

	(void)state;
	at = wire_in_space(&in, &space);
	assert_int_equal(space, WIRE_MESSAGE_MAX_BYTES);
	memset(at, 'x', space);
	memcpy(at, "{\"", 2);
	/* One byte less is a message of the greatest length, once it ends. */
	wire_in_filled(&in, space - 1);
	expect_nothing();
	wire_in_space(&in, &space);
	assert_int_equal(space, 1);
	FEED("x");
	assert_int_equal(wire_in_next(&in, &message, &len, &why), -EMSGSIZE);
	wire_in_space(&in, &space);
	assert_int_equal(space, 0);
}

static void test_longest(void **state)
{
	const char *message, *why;
	size_t space, len;
	char *at;

	(void)state;
	FEED("{}");
	expect_message("{}");
	at = wire_in_space(&in, &space);
	assert_int_equal(space, WIRE_MESSAGE_MAX_BYTES);
	memset(at, ' ', space);
	at[0] = '{';
	at[space - 1] = '}';
	wire_in_filled(&in, space);
	assert_int_equal(wire_in_next(&in, &message, &len, &why), 1);
	assert_int_equal(len, WIRE_MESSAGE_MAX_BYTES);
	wire_in_space(&in, &space);
	assert_int_equal(space, WIRE_MESSAGE_MAX_BYTES);
}

static void test_out(void **state)
{
	static char block[100000], got[1 << 20];
	struct wire_out out = { 0 };
	size_t sent = 0, received = 0, i;
	int pair[2];
	ssize_t n;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
	for (i = 0; i < 8; i++) {
		memset(block, 'a' + (int)i, sizeof(block));
		assert_int_equal(wire_out_put(&out, block, sizeof(block)), 0);
		sent += sizeof(block);
		assert_int_equal(wire_out_flush(&out, pair[0]), 0);
	}
	/* The socket does not take all of it at once; the rest waits in order. */
	assert_in_range(wire_out_pending(&out), 1, sent - 1);
	do {
		while ((n = read(pair[1], got + received, sizeof(got) - received)) > 0)
			received += (size_t)n;
		assert_int_equal(wire_out_flush(&out, pair[0]), 0);
	} while (received < sent);
	assert_int_equal(received, sent);
	for (i = 0; i < sent; i++)
		assert_int_equal(got[i], 'a' + (int)(i / sizeof(block)));
	assert_int_equal(wire_out_pending(&out), 0);
	close(pair[1]);
	assert_int_equal(wire_out_put(&out, "x", 1), 0);
	assert_int_equal(wire_out_flush(&out, pair[0]), -EPIPE);
	close(pair[0]);
	wire_out_done(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_ends_of_message, set_up, take_down),
		cmocka_unit_test_setup_teardown(test_byte_by_byte, set_up, take_down),
		cmocka_unit_test_setup_teardown(test_garbage, set_up, take_down),
		cmocka_unit_test_setup_teardown(test_control_characters, set_up, take_down),
		cmocka_unit_test_setup_teardown(test_depth, set_up, take_down),
		cmocka_unit_test_setup_teardown(test_too_long, set_up, take_down),
		cmocka_unit_test_setup_teardown(test_longest, set_up, take_down),
		cmocka_unit_test(test_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
