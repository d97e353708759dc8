# Each target runs the script of that name in .ci; what it does stands there. .ci/run does all of them in order.
.PHONY: all fmt tidy build vet lint bench unref test race fuzz

all:
	bash .ci/run

fmt tidy build vet lint bench unref test race fuzz:
	bash .ci/$@.sh
