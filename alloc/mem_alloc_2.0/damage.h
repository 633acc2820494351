#ifndef MEM_ALLOC_2_0_DAMAGE_H
#define MEM_ALLOC_2_0_DAMAGE_H

/* Writes one line that names the pointer and says what is wrong, and aborts. */
_Noreturn void ma2_damaged(const void *pointer, const char *what);

#endif
