/* Something for a compiler to do. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct node {
	struct node *left, *right;
	int key;
	char name[20];
};

static struct node *insert(struct node *node, int key)
{
	if (node == NULL) {
		node = calloc(1, sizeof(*node));
		if (node == NULL)
			exit(1);
		node->key = key;
		snprintf(node->name, sizeof(node->name), "node %d", key);
	} else if (key < node->key) {
		node->left = insert(node->left, key);
	} else if (key > node->key) {
		node->right = insert(node->right, key);
	}
	return node;
}

static long sum(const struct node *node, int depth)
{
	if (node == NULL)
		return 0;
	return sum(node->left, depth + 1) + sum(node->right, depth + 1) + depth * (long)strlen(node->name) + node->key;
}

static void discard(struct node *node)
{
	if (node == NULL)
		return;
	discard(node->left);
	discard(node->right);
	free(node);
}

#define STEP(n) x = (x * 31 + (n)) % 65521, x ^= x << 3 & 0xff
#define STEPS(n) STEP(n), STEP(n + 1), STEP(n + 2), STEP(n + 3), STEP(n + 4), STEP(n + 5), STEP(n + 6), STEP(n + 7)

static unsigned int mix(unsigned int x)
{
	for (int i = 0; i < 10; i++) {
		STEPS(1), STEPS(9), STEPS(17), STEPS(25), STEPS(33), STEPS(41), STEPS(49), STEPS(57);
		switch (x % 8) {
		case 0:
			STEPS(100);
			break;
		case 1:
			STEPS(200);
			break;
		case 5:
			STEPS(300), STEPS(400);
			break;
		default:
			x++;
		}
	}
	return x;
}

int main(void)
{
	struct node *root = NULL;

	for (int i = 0; i < 1000; i++)
		root = insert(root, (int)(mix((unsigned int)i) % 5000));
	printf("%ld\n", sum(root, 0));
	discard(root);
	return 0;
}
