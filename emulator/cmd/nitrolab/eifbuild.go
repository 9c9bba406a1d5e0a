package main

import "github.com/spf13/cobra"

func newEIFBuild() *cobra.Command { return &cobra.Command{Use: "build"} }
