package main

var keyVault = map[string]operation{}
