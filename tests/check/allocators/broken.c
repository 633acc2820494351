void *broken_malloc(unsigned long size)
{
	return nothing_that_is_declared;
}

void broken_free(void *block)
{
	(void)block;
}
