# What is installed beside the targets. The build folder is laid out as an installation is (bin, lib, libexec, share, include), so that
# everything is found from the place of the command in both.
install(FILES LICENSE README.md DESTINATION "${CMAKE_INSTALL_DOCDIR}")
install(DIRECTORY docs/ DESTINATION "${CMAKE_INSTALL_DOCDIR}" FILES_MATCHING PATTERN "*.md")
install(DIRECTORY corpus/ DESTINATION share/heapstorm/corpus FILES_MATCHING PATTERN "*.heap" PATTERN "*.rep" PATTERN "*.zst" PATTERN "*.md")

# What an allocator of the user's is compiled and linked with: cmake/build_allocator.sh.
foreach(file
	cmake/build_allocator.sh
	cmake/bundle_allocator.sh
	cmake/find_clang.sh
	harness/bundle/prefix.c
	harness/bundle/begin.c
	harness/bundle/end.c
	harness/bundle/bundle.h
	harness/bundle/bundle.ld)
	get_filename_component(name ${file} NAME)
	set(place share/heapstorm)
	if(file MATCHES "/bundle/")
		set(place share/heapstorm/bundle)
	endif()
	configure_file(${file} "${CMAKE_BINARY_DIR}/${place}/${name}" COPYONLY)
	install(FILES ${file} DESTINATION ${place})
endforeach()
configure_file(alloc/allocator.h "${CMAKE_BINARY_DIR}/include/heapstorm/allocator.h" COPYONLY)
install(FILES alloc/allocator.h DESTINATION include/heapstorm)
install(FILES alloc/mem_alloc.h alloc/mem_alloc_2.0.h alloc/block.h DESTINATION include/heapstorm)

# heapstorm_linkable(NAME SOURCE...) makes the archive libheapstorm-NAME.a of what such an allocator is linked with.
function(heapstorm_linkable name)
	add_library(heapstorm-${name} STATIC ${ARGN})
	target_link_libraries(heapstorm-${name} PUBLIC heapstorm_engine)
	set_target_properties(heapstorm-${name} PROPERTIES ARCHIVE_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/lib/heapstorm")
	install(TARGETS heapstorm-${name} ARCHIVE DESTINATION lib/heapstorm)
endfunction()

# find_package(heapstorm) and pkg-config. Places are relative: the installed tree can be moved.
include(CMakePackageConfigHelpers)
set(HEAPSTORM_BIN bin)
set(HEAPSTORM_LIB lib)
set(HEAPSTORM_SHARE share/heapstorm)
set(HEAPSTORM_INCLUDE include)
configure_package_config_file(cmake/heapstormConfig.cmake.in "${CMAKE_BINARY_DIR}/lib/cmake/heapstorm/heapstormConfig.cmake"
	INSTALL_DESTINATION lib/cmake/heapstorm
	PATH_VARS HEAPSTORM_BIN HEAPSTORM_LIB HEAPSTORM_SHARE HEAPSTORM_INCLUDE)
write_basic_package_version_file("${CMAKE_BINARY_DIR}/lib/cmake/heapstorm/heapstormConfigVersion.cmake" COMPATIBILITY SameMinorVersion)
configure_file(cmake/heapstorm_add_allocator.cmake "${CMAKE_BINARY_DIR}/lib/cmake/heapstorm/heapstorm_add_allocator.cmake" COPYONLY)
configure_file(cmake/heapstorm.pc.in "${CMAKE_BINARY_DIR}/lib/pkgconfig/heapstorm.pc" @ONLY)
install(DIRECTORY "${CMAKE_BINARY_DIR}/lib/cmake/heapstorm" DESTINATION lib/cmake)
install(FILES "${CMAKE_BINARY_DIR}/lib/pkgconfig/heapstorm.pc" DESTINATION lib/pkgconfig)
install(DIRECTORY examples DESTINATION "${CMAKE_INSTALL_DOCDIR}")

# Manual pages, out of the help texts.
find_program(HEAPSTORM_HELP2MAN help2man)
function(heapstorm_man_pages)
	if(NOT HEAPSTORM_HELP2MAN OR HEAPSTORM_SANITIZE OR CMAKE_CROSSCOMPILING)
		return()
	endif()
	set(folder "${CMAKE_BINARY_DIR}/share/man/man1")
	add_custom_command(
		OUTPUT "${folder}/heapstorm.1"
		COMMAND sh "${CMAKE_SOURCE_DIR}/cmake/man_pages.sh" "${HEAPSTORM_HELP2MAN}" $<TARGET_FILE:heapstorm> ${PROJECT_VERSION} "${folder}"
		DEPENDS heapstorm "${CMAKE_SOURCE_DIR}/cmake/man_pages.sh"
		COMMENT "Writing the manual pages"
		VERBATIM)
	add_custom_target(heapstorm_man ALL DEPENDS "${folder}/heapstorm.1")
	install(DIRECTORY "${folder}" DESTINATION share/man)
endfunction()

# cpack: make package.
set(CPACK_GENERATOR TGZ DEB)
set(CPACK_PACKAGE_VENDOR heapstorm)
set(CPACK_PACKAGE_CONTACT "heapstorm <heapstorm@localhost>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "stress and fuzz harness for memory allocators")
set(CPACK_PACKAGE_DIRECTORY "${CMAKE_BINARY_DIR}/packages")
set(CPACK_RESOURCE_FILE_LICENSE "${CMAKE_SOURCE_DIR}/LICENSE")
set(CPACK_RESOURCE_FILE_README "${CMAKE_SOURCE_DIR}/README.md")
set(CPACK_VERBATIM_VARIABLES ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION devel)
# What an allocator of the user's is compiled and linked with.
get_filename_component(clang_name "${HEAPSTORM_CLANG}" NAME)
string(REGEX MATCH "[0-9]+$" clang_version "${clang_name}")
set(CPACK_DEBIAN_PACKAGE_DEPENDS "libc6, libzstd1, libcjson1")
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS "binutils, libc6-dev, libzstd-dev, libcjson-dev, gnuplot-nox")
if(clang_version)
	string(PREPEND CPACK_DEBIAN_PACKAGE_RECOMMENDS "clang-${clang_version}, libclang-rt-${clang_version}-dev, llvm-${clang_version}, ")
endif()
include(CPack)
