/*
 * The threads of runs. Each is a real thread, with its own thread pointer, thread-local variables, stack and pthread_t, made when the first
 * run needs one of its number and kept for all runs after.
 *
 * Only one of them runs at a time, so the kernel need not choose among them: the thread that called schedule_begin takes the registers,
 * the stack and the thread pointer of the one whose turn it is. To user space it then is that thread, AddressSanitizer's runtime
 * included; the kernel's own thread of that number sleeps all the while, above the part of the stack that is in use. That
 * costs some nanoseconds, where two system calls and a switch in the kernel cost microseconds.
 *
 * With options.kernel_switch, and where the registers are not known here (other machines than x86-64), the kernel's threads hand over
 * to each other by futexes. Both ways are the same runs, to the last point.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "internal.h"

#define STACK_SIZE ((size_t)256 << 10)
#define STACK_KEPT 4096 /* of the stack, for the kernel's thread that sleeps there */

static struct pooled {
	uint32_t made;  /* futex: 1 once the thread is there */
	uint32_t token; /* futex: 1 while it is this one's turn */
	struct thread *thread;
	pthread_t handle;
	void *thread_pointer;
	char *stack_begin; /* also of one that is gone, by a fork */
	char *stack;       /* where the functions of runs begin */
	void *registers;   /* of one that waits: they lie on its stack */
} pool[SCHEDULE_THREADS_MAX];

static bool in_kernel; /* this run */

static const struct bundle *watched;
static char *fresh; /* thread-local variables of the bundle in a thread that has just begun */

/* ---- By the kernel ---- */

static void set_word(uint32_t *word)
{
	__atomic_store_n(word, 1, __ATOMIC_RELEASE);
	syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static void await_word(const uint32_t *word)
{
	while (__atomic_load_n(word, __ATOMIC_ACQUIRE) == 0)
		syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
}

static void await_token(struct pooled *self)
{
	await_word(&self->token);
	self->token = 0;
}

/* ---- By registers ---- */

#if defined(__x86_64__)
#define HAVE_REGISTERS 1
#define HWCAP2_FSGSBASE 2

/*
 * Saves what a function must keep on the stack, writes the stack pointer to *saved, and goes on at `registers`, which was saved in the
 * same way, with another thread pointer.
 */
void heapstorm_switch_registers(void **saved, void *registers, void *thread_pointer, bool by_instruction);
__asm__(".text\n"
	".p2align 4\n"
	".hidden heapstorm_switch_registers\n"
	".globl heapstorm_switch_registers\n"
	".type heapstorm_switch_registers, @function\n"
	"heapstorm_switch_registers:\n"
	"	.cfi_startproc\n"
	"	pushq %rbp\n	.cfi_adjust_cfa_offset 8\n	.cfi_rel_offset %rbp, 0\n"
	"	pushq %rbx\n	.cfi_adjust_cfa_offset 8\n	.cfi_rel_offset %rbx, 0\n"
	"	pushq %r12\n	.cfi_adjust_cfa_offset 8\n	.cfi_rel_offset %r12, 0\n"
	"	pushq %r13\n	.cfi_adjust_cfa_offset 8\n	.cfi_rel_offset %r13, 0\n"
	"	pushq %r14\n	.cfi_adjust_cfa_offset 8\n	.cfi_rel_offset %r14, 0\n"
	"	pushq %r15\n	.cfi_adjust_cfa_offset 8\n	.cfi_rel_offset %r15, 0\n"
	"	subq $8, %rsp\n	.cfi_adjust_cfa_offset 8\n"
	"	stmxcsr (%rsp)\n"
	"	fnstcw 4(%rsp)\n"
	"	movq %rsp, (%rdi)\n"
	"	movq %rsi, %rsp\n"
	"	testb %cl, %cl\n"
	"	je 1f\n"
	"	wrfsbase %rdx\n"
	"	jmp 2f\n"
	"1:	movl $158, %eax\n" /* arch_prctl(ARCH_SET_FS, thread_pointer) */
	"	movl $0x1002, %edi\n"
	"	movq %rdx, %rsi\n"
	"	syscall\n"
	"2:	ldmxcsr (%rsp)\n"
	"	fldcw 4(%rsp)\n"
	"	addq $8, %rsp\n	.cfi_adjust_cfa_offset -8\n"
	"	popq %r15\n	.cfi_adjust_cfa_offset -8\n	.cfi_restore %r15\n"
	"	popq %r14\n	.cfi_adjust_cfa_offset -8\n	.cfi_restore %r14\n"
	"	popq %r13\n	.cfi_adjust_cfa_offset -8\n	.cfi_restore %r13\n"
	"	popq %r12\n	.cfi_adjust_cfa_offset -8\n	.cfi_restore %r12\n"
	"	popq %rbx\n	.cfi_adjust_cfa_offset -8\n	.cfi_restore %rbx\n"
	"	popq %rbp\n	.cfi_adjust_cfa_offset -8\n	.cfi_restore %rbp\n"
	"	ret\n"
	"	.cfi_endproc\n"
	"	.size heapstorm_switch_registers, . - heapstorm_switch_registers\n");

struct registers {
	uint32_t mxcsr;
	uint16_t x87, unused;
	uint64_t r15, r14, r13, r12, rbx, rbp;
	void (*returns_to)(void);
	uint64_t nothing; /* above it: the outermost frame, at an address that a call would have left */
};

static void *thread_pointer(void)
{
	void *pointer;

	__asm__("movq %%fs:0, %0" : "=r"(pointer));
	return pointer;
}

static void begin_thread(void)
{
	schedule_thread_body(schedule.running);
	__builtin_unreachable(); /* its end chose another one */
}

static void prepare_registers(struct pooled *self)
{
	struct registers *const registers = (struct registers *)self->stack - 1;

	memset(registers, 0, sizeof *registers);
	__asm__ volatile("stmxcsr %0\n\tfnstcw %1" : "=m"(registers->mxcsr), "=m"(registers->x87));
	registers->returns_to = begin_thread;
	self->registers = registers;
}

static void switch_registers(struct pooled *from, const struct pooled *to)
{
	static int by_instruction = -1;

	if (by_instruction < 0)
		by_instruction = (getauxval(AT_HWCAP2) & HWCAP2_FSGSBASE) != 0;
	heapstorm_switch_registers(&from->registers, to->registers, to->thread_pointer, by_instruction != 0);
}
#else
#define HAVE_REGISTERS 0

static void *thread_pointer(void)
{
	return NULL;
}

static void prepare_registers(struct pooled *self)
{
	(void)self;
}

static void switch_registers(struct pooled *from, const struct pooled *to)
{
	(void)from, (void)to;
}
#endif

/* ---- The pool ---- */

static void no_thread(int error)
{
	errno = error;
	perror("heapstorm: no thread");
	_exit(3);
}

static void *save_fresh(void *argument)
{
	(void)argument;
	bundle_thread_save(watched, fresh);
	return NULL;
}

void threads_watch_bundle(const struct bundle *bundle)
{
	pthread_t thread;
	int error;

	if (watched == bundle)
		return;
	watched = bundle;
	fresh = mmap(NULL, bundle_thread_size(bundle), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (fresh == MAP_FAILED) {
		perror("heapstorm: no memory for thread-local variables");
		_exit(3);
	}
	error = pthread_create(&thread, NULL, save_fresh, NULL);
	if (error != 0)
		no_thread(error);
	pthread_join(thread, NULL);
}

static void *pool_main(void *argument)
{
	struct pooled *const self = argument;

	self->thread_pointer = thread_pointer();
	self->stack = (char *)((uintptr_t)__builtin_frame_address(0) - STACK_KEPT & ~(uintptr_t)63);
	set_word(&self->made);
	for (;;) {
		await_token(self);
		schedule_thread_body(self->thread);
	}
	return NULL;
}

/* In the child of a fork: there is one thread alone. The stacks can be used again. */
static void forget_pool(void)
{
	for (uint32_t i = 0; i < SCHEDULE_THREADS_MAX; i++)
		pool[i].made = 0;
}

static void make_thread(struct pooled *self)
{
	static bool handles_forks;
	static const int synchronous[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS};
	pthread_attr_t attributes;
	sigset_t blocked, before;
	int error;

	if (!handles_forks && pthread_atfork(NULL, NULL, forget_pool) != 0)
		no_thread(ENOMEM);
	handles_forks = true;
	if (self->stack_begin == NULL) {
		char *const stack = mmap(NULL, STACK_SIZE, PROT_READ | PROT_WRITE,
					 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);

		if (stack == MAP_FAILED)
			no_thread(errno);
		mprotect(stack, (size_t)sysconf(_SC_PAGESIZE), PROT_NONE);
		self->stack_begin = stack;
	}
	self->token = 0;
	pthread_attr_init(&attributes);
	pthread_attr_setstack(&attributes, self->stack_begin, STACK_SIZE);
	/* A signal would be handled on the part of the stack that another one works on. */
	sigfillset(&blocked);
	for (size_t i = 0; i < sizeof synchronous / sizeof synchronous[0]; i++)
		sigdelset(&blocked, synchronous[i]);
	pthread_sigmask(SIG_BLOCK, &blocked, &before);
	error = pthread_create(&self->handle, &attributes, pool_main, self);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attributes);
	if (error != 0)
		no_thread(error);
	await_word(&self->made);
}

bool threads_in_kernel(bool wanted)
{
	return wanted || !HAVE_REGISTERS;
}

void threads_begin(bool by_kernel)
{
	in_kernel = threads_in_kernel(by_kernel);
	pool[0].thread_pointer = thread_pointer();
	pool[0].token = 0;
}

pthread_t threads_start(struct thread *thread)
{
	struct pooled *const self = &pool[thread->number];

	if (self->made == 0)
		make_thread(self);
	self->thread = thread;
	if (!in_kernel)
		prepare_registers(self);
	return self->handle;
}

void threads_fresh(void)
{
	if (watched != NULL)
		bundle_thread_restore(watched, fresh);
	errno = 0;
}

void threads_switch(struct thread *from, struct thread *to)
{
	struct pooled *const self = &pool[from->number];

	if (!in_kernel) {
		switch_registers(self, &pool[to->number]);
		return;
	}
	const bool ended = from->state == STATE_ENDED; /* soon `from` may be a thread of the next run */

	set_word(&pool[to->number].token);
	if (!ended)
		await_token(self);
}
