// Hello is the least that a Go program can do. Its start and end are what a
// cold start and a short-lived program cost without any system at all.
package main

import "fmt"

func main() { fmt.Println("hello, world") }
