# Functions that the directories share.

# Only clang brings libFuzzer and the runtimes that the sanitized variants are linked with.
set(HEAPSTORM_FUZZING OFF)
if(CMAKE_C_COMPILER_ID STREQUAL "Clang" AND CMAKE_C_COMPILER_VERSION VERSION_GREATER_EQUAL 16)
	set(HEAPSTORM_FUZZING ON)
endif()

# heapstorm_existing(VARIABLE FILE...) sets VARIABLE to those of the files of this directory that are there.
function(heapstorm_existing variable)
	set(existing)
	foreach(file ${ARGN})
		if(EXISTS "${CMAKE_CURRENT_SOURCE_DIR}/${file}")
			list(APPEND existing "${file}")
		endif()
	endforeach()
	set(${variable} "${existing}" PARENT_SCOPE)
endfunction()
